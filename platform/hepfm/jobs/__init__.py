"""Work on a Ray cluster: submitted jobs, and the local services that take them."""
