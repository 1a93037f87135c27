"""The auction over several processes or machines: items by shard, users by shard, messages through a shared folder."""
