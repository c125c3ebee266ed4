//! What to change when a web dyno never listened where it should.

/// Reads the `address:port` pairs a dyno listens on besides `0.0.0.0:<port>`, and says what is wrong with them.
pub(crate) fn boot_advice(port: u16, listeners: &[String]) -> String {
    let parsed: Vec<(&str, &str)> = listeners.iter().filter_map(|listener| listener.rsplit_once(':')).collect();
    if let Some((address, _)) = parsed.iter().find(|(address, found)| found.parse() == Ok(port) && is_loopback(address)) {
        return format!(
            "It listens on {address}:{port}, which nobody outside the dyno can reach. Listen on 0.0.0.0 (all addresses), port $PORT."
        );
    }
    match parsed.first() {
        Some((address, found)) => format!(
            "It listens on {address}:{found}, not on port {port}. Read the port from the PORT environment variable and listen on 0.0.0.0."
        ),
        None => format!(
            "It listens on no port at all. Listen on 0.0.0.0, port $PORT (here {port}); a process that answers no requests needs another name than web in the Procfile."
        ),
    }
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("127.") || matches!(address, "::1" | "[::1]" | "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_change() {
        let advice = |listeners: &[&str]| boot_advice(5000, &listeners.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(advice(&[]).contains("no port at all"));
        assert!(advice(&["127.0.0.1:5000"]).contains("nobody outside"));
        assert!(advice(&["[::1]:5000"]).contains("nobody outside"));
        assert!(advice(&["0.0.0.0:8000"]).contains("0.0.0.0:8000, not on port 5000"));
        assert!(advice(&["0.0.0.0:9999", "127.0.0.1:5000"]).contains("nobody outside"));
    }
}
