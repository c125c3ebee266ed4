//! Platform API, accounts, dashboard; the composition root.
