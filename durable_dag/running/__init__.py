"""The durable workflow that carries definitions out, and those beside it: deliveries, turns, other queues."""
