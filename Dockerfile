# docker build -t nanda . && docker run --rm -v "$PWD:/papers" nanda "/annotate papers.csv save to annotated.jsonl"
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY . /opt/nanda
RUN pip install --no-cache-dir --only-binary :all: --constraint /opt/nanda/constraints.txt --editable /opt/nanda
ENV HARNESS_CACHE=/var/cache/nanda HARNESS_DATA=/papers/.nanda
WORKDIR /papers
ENTRYPOINT ["nanda"]
CMD ["/help"]
