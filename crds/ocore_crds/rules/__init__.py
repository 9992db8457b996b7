"""Rules that several programs ask: what is kept, what is proven, what a person is told to do. Pure."""
