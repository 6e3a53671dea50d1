//! Many filters without proxies: the filter's own `sync` and `records`, driven by HTTP instead of Envoy's callouts.
