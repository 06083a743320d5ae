"""Storage is tested under the KMS, which uses all of it."""

from tests.kms.conftest import file_world, place, store_to_reuse, world

__all__ = ["file_world", "place", "store_to_reuse", "world"]
