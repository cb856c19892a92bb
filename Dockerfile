FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# calibration, torch, export, or several: docker compose build --build-arg EXTRAS=calibration,export
ARG EXTRAS=calibration
# Dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt README.md ./
COPY marl_pricing/__init__.py marl_pricing/__init__.py
RUN pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"
COPY . .
RUN pip install --no-cache-dir --no-deps -e .
VOLUME /app/runs
CMD ["python", "train.py", "--help"]
