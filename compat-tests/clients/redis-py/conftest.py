"""The servers under test, for redis-py."""

import os

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

HOST = os.environ["COMPAT_HOST"]
PORT = int(os.environ["COMPAT_PORT"])
AUTH_PORT = int(os.environ.get("COMPAT_AUTH_PORT") or 0)
PASSWORD = os.environ.get("COMPAT_PASSWORD", "")
IS_REFERENCE = bool(os.environ.get("COMPAT_REFERENCE"))
IS_QUICK = bool(os.environ.get("COMPAT_QUICK"))


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


@pytest.fixture
def connect(protocol):
    """Makes clients, and closes them at the end of the test."""
    made = []

    def make(**options):
        client = redis.Redis(**{"host": HOST, "port": PORT, "protocol": protocol, "decode_responses": True,
                                "socket_timeout": 10, "retry": Retry(NoBackoff(), 1), **options})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
        client.connection_pool.disconnect()


@pytest.fixture
def client(connect):
    client = connect()
    client.flushall()
    return client
