FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# Dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt README.md ./
COPY marl_pricing/__init__.py marl_pricing/__init__.py
RUN pip install --no-cache-dir -c constraints.txt '.[calibration]'
COPY . .
RUN pip install --no-cache-dir --no-deps -e .
VOLUME /app/runs
CMD ["python", "train.py", "--help"]
