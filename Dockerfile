# The search page over a folder of videos:
#     docker build -t dreamprvr .
#     docker run --name page -p 127.0.0.1:8000:8000 -v ~/Videos:/videos:ro -v dreamprvr:/data dreamprvr
#     docker exec page lightning search /data "a man flips a pancake"
# With an NVIDIA GPU and NVIDIA's container toolkit, `docker run --gpus all ...`. Without a GPU, the image is 3 GB smaller
# with torch from the CPU index that PyTorch's page "Get started" names:
#     docker build -t dreamprvr --build-arg TORCH_INDEX=URL .
# The volume /data keeps features, library and the fetched model.
FROM python:3.12-slim

# where pip gets torch; empty for PyPI, whose torch brings the libraries of GPUs
ARG TORCH_INDEX=

WORKDIR /app
COPY setup.cfg pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
COPY data_modules ./data_modules
COPY configs ./configs
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch; \
    fi \
    && pip install --no-cache-dir --constraint constraints.txt '.[search]'

# not root; the folders exist, so that new volumes belong to this user
RUN useradd --create-home --uid 1000 dreamprvr \
    && mkdir /videos /data \
    && chown dreamprvr /videos /data
USER dreamprvr
WORKDIR /data
ENV HF_HOME=/data/models XDG_CACHE_HOME=/data/cache
VOLUME /data
EXPOSE 8000
# the first process of a container does not hear SIGTERM unless it handles it
STOPSIGNAL SIGINT

ENTRYPOINT ["lightning"]
# the page listens on all addresses of the container; `-p 127.0.0.1:...` keeps it on this machine
CMD ["up", "/videos", "-o", "/data", "--watch", "--host", "0.0.0.0", "--allowed_host", "localhost"]
