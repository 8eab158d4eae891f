from models.published_models import GoldenTests

from dreamprvr.models.gmmformer_v2 import GMMFormerV2
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = GMMFormerV2
    small = {"hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 5.0)}


class TestGolden(GoldenTests):
    name = "gmmformer_v2"
    model = GMMFormerV2
    millions = {(1024, 1024): 30.79, (3072, 768): 32.27}
