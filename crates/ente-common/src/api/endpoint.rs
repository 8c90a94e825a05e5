//! Which server: the base address of the API, in one spelling.

use url::{Host, Url};

use crate::manifest::PRODUCTION;

/// The base address of an API server, normalised: two spellings of one server are equal.
///
/// It may carry a path prefix and never ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL at all.
    #[error("it is not a URL: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// Another scheme, or no host.
    #[error("it must start with `https://` or `http://`")]
    Scheme,
    /// User name, password, query or fragment.
    #[error("only scheme, host, port and path may be given")]
    Extra,
}

impl Endpoint {
    /// Ente's own service.
    pub fn production() -> Self {
        Self(Url::parse(PRODUCTION).expect("the constant is a URL"))
    }

    /// Reads an address as a person types it or as a file holds it.
    ///
    /// Trailing slashes go; the service's former name becomes the present one.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let mut url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(EndpointError::Scheme);
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(EndpointError::Extra);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        if url.as_str() == "https://api.ente.io/" {
            return Ok(Self::production());
        }
        Ok(Self(url))
    }

    /// The text form that identifies the server in files: no trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether the server is on this machine, where plain `http` exposes nothing. Of names only `localhost` itself: a
    /// resolver may send those below it anywhere.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }

    /// Whether what is sent can be read on the way.
    pub fn is_plain_http(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The address of one call; `path` starts with `/`.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_server_are_equal() {
        for (typed, kept) in [
            ("https://api.ente.com", PRODUCTION),
            ("https://api.ente.com/", PRODUCTION),
            ("https://API.ente.com:443//", PRODUCTION),
            ("https://api.ente.io/", PRODUCTION),
            (" http://localhost:8080 ", "http://localhost:8080"),
            ("https://example.org/museum/", "https://example.org/museum"),
        ] {
            let endpoint = Endpoint::parse(typed).unwrap();
            assert_eq!(endpoint.as_str(), kept, "{typed}");
            assert_eq!(Endpoint::parse(endpoint.as_str()).unwrap(), endpoint);
        }
    }

    #[test]
    fn what_is_no_server_address_is_refused() {
        for (typed, why) in [
            ("localhost:8080", EndpointError::Scheme),
            ("file:///tmp", EndpointError::Scheme),
            ("https://me@example.org", EndpointError::Extra),
            ("https://example.org/?a=b", EndpointError::Extra),
            ("https://example.org/#a", EndpointError::Extra),
        ] {
            assert_eq!(Endpoint::parse(typed), Err(why), "{typed}");
        }
        assert!(matches!(
            Endpoint::parse("example.org"),
            Err(EndpointError::NotAUrl(_))
        ));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (typed, loopback) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.2", true),
            ("http://[::1]:80", true),
            ("http://192.168.1.2", false),
            ("http://museum.localhost", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(Endpoint::parse(typed).unwrap().is_loopback(), loopback);
        }
    }

    #[test]
    fn calls_keep_the_prefix_and_encode_the_query() {
        let endpoint = Endpoint::parse("https://example.org/museum/").unwrap();
        assert_eq!(
            endpoint.url("/ping", &[]).as_str(),
            "https://example.org/museum/ping"
        );
        assert_eq!(
            endpoint.url("/a", &[("email", "a+b@c.d")]).as_str(),
            "https://example.org/museum/a?email=a%2Bb%40c.d"
        );
        let plain = Endpoint::production().url("/ping", &[]);
        assert_eq!(plain.as_str(), "https://api.ente.com/ping");
    }
}
