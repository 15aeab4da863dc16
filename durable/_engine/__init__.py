"""The only floor that awaits the world: workers, clients, and the ring that every outcome goes round."""
