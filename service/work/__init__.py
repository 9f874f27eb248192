"""What runs after receipt: the indexer, the workflows and the processes they live in. The only package that imports dbos."""
