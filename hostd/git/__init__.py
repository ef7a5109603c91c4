"""Git on the host: mirrors of upstreams, one staging repository per attempt, and the courier between them."""
