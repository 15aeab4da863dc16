"""The rooms behind ``durable_testing.memory``: dictionaries, and the transitions of the Store protocol over them."""
