# One image for web, worker, migrations, Flower and the agent in the pods of runs. scripts/image builds it.
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
WORKDIR /opt/podwire
# Only what the dependencies follow from: code changes far more often, and this layer takes longest.
COPY setup.cfg pyproject.toml config/constraints.txt ./
RUN python3 -m venv /opt/venv && \
    /opt/venv/bin/python -c "import configparser; c = configparser.ConfigParser(interpolation=None); c.read('setup.cfg'); print(c['options']['install_requires'], c['options.extras_require']['flower'])" > wanted.txt && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --prefer-binary -c constraints.txt -r wanted.txt
COPY README.md LICENSE ./
RUN /opt/venv/bin/python -c "from setuptools import setup; setup()" -q egg_info && \
    /opt/venv/bin/pip uninstall --quiet --yes pip setuptools

FROM ${PYTHON}
RUN apt-get update && \
    apt-get install --yes --no-install-recommends busybox-static && \
    rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/podwire
COPY --from=packages /opt/podwire/podwire.egg-info podwire.egg-info
COPY app app
COPY config config
COPY tasks tasks
RUN python3 -m compileall -q app config tasks && \
    printf '#!/opt/venv/bin/python\nfrom app.cli.main import main\nraise SystemExit(main())\n' > /opt/venv/bin/podwire && \
    chmod 755 /opt/venv/bin/podwire
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/opt/podwire PYTHONUNBUFFERED=1
USER 1000:1000
CMD ["podwire", "--help"]
