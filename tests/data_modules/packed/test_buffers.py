import pickle

import torch

from data_modules.packed.buffers import MOST, PAGE, START, Buffers


def test_shape_and_type():
    taken = Buffers().take((2, 3), torch.float16)
    assert taken.shape == (2, 3)
    assert taken.dtype == torch.float16
    assert taken.is_contiguous()


def test_memory_lies_where_copying_is_fast():
    """Not 16 bytes behind the rows' own place in their page, as numpy's own large arrays do."""
    for size in (10, 10**6, 10**7):
        assert Buffers().take((size,), torch.float32).data_ptr() % PAGE == START


def test_memory_is_used_again_once_free():
    buffers = Buffers()
    taken = buffers.take((100, 10), torch.float32)
    place = taken.data_ptr()
    del taken
    # a little longer or shorter still fits; half precision takes half
    for shape, dtype in (((110, 10), torch.float32), ((90, 10), torch.float32),
                         ((190, 10), torch.float16)):  # fmt: skip
        again = buffers.take(shape, dtype)
        assert again.data_ptr() == place
        del again
    assert buffers.take((1000, 10), torch.float32).data_ptr() != place


def test_what_somebody_holds_is_never_overwritten():
    buffers = Buffers()
    first = buffers.take((50, 4), torch.float32).fill_(1)
    view = first[10:20].view(-1)
    del first
    for number in range(3 * MOST):
        buffers.take((50, 4), torch.float32).fill_(number)
    assert (view == 1).all()


def test_many_held_at_once_are_all_different():
    buffers = Buffers()
    held = [buffers.take((8,), torch.float32).fill_(i) for i in range(3 * MOST)]
    assert [tensor[0].item() for tensor in held] == list(range(3 * MOST))
    assert len(buffers._slots) <= MOST


def test_memory_of_outgrown_sizes_is_let_go():
    buffers = Buffers()
    for size in range(1, 4 * MOST):
        buffers.take((10 ** (size % 5), size), torch.float32)
    assert len(buffers._slots) <= MOST


def test_a_copy_shares_nothing():
    buffers = Buffers()
    buffers.take((8,), torch.float32)
    assert pickle.loads(pickle.dumps(buffers))._slots == []
