//! Platform API v3 over HTTP, accounts, dashboard.
