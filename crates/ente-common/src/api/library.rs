//! Listing a library. Entries stay as served: they are ciphertext to whoever holds no keys, and
//! members that this build does not know must survive.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{ApiError, Client, ErrorKind};
use crate::wire::{Collections, DiffPage, TrashEntry};

impl Client {
    /// All collections that the account owns or that are shared with it, tombstones included, each
    /// one a JSON object exactly as served.
    pub async fn collections(&self) -> Result<Vec<Box<RawValue>>, ApiError> {
        let query = [("sinceTime", "0")];
        let answer: Collections<_> = self.get("/collections/v2", &query).await?;
        Ok(answer.collections)
    }

    /// The entries of a collection that changed after `since_us` (microseconds of the Unix epoch;
    /// 0 lists everything), each one read as a `T`: as a [`RawValue`] it is a JSON object exactly as
    /// served. That goes on beside other pages.
    ///
    /// If the page has more, ask again from the highest `updationTime` seen; an empty page ends the
    /// listing whatever it says. [`NotFound`](super::ErrorKind::NotFound): the collection is
    /// deleted or no longer shared.
    pub async fn diff<T: DeserializeOwned + Send + 'static>(
        &self,
        collection: i64,
        since_us: i64,
    ) -> Result<DiffPage<T>, ApiError> {
        let query = [
            ("collectionID", &*collection.to_string()),
            ("sinceTime", &*since_us.to_string()),
        ];
        self.get("/collections/v2/diff", &query).await
    }

    /// Whether a file is in a collection now. An error where the server does not know this question.
    pub async fn is_in_collection(&self, collection: i64, file: i64) -> Result<bool, ApiError> {
        let query = [
            ("collectionID", &*collection.to_string()),
            ("fileID", &*file.to_string()),
        ];
        let answer = self.get::<serde::de::IgnoredAny>("/collections/file", &query);
        match answer.await {
            Ok(_) => Ok(true),
            Err(error)
                if error.kind == ErrorKind::NotFound
                    && error.code() == "FILE_NOT_FOUND_IN_ALBUM" =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What happened to the trash after `since_us`; pages as [`diff`](Self::diff) does.
    pub async fn trash(&self, since_us: i64) -> Result<DiffPage<TrashEntry>, ApiError> {
        let query = [("sinceTime", &*since_us.to_string())];
        self.get("/trash/v2/diff", &query).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use crate::api::ErrorKind;
    use crate::api::test_server::{Canned, TestServer, client_of};

    #[tokio::test]
    async fn entries_stay_as_served() {
        let entry = r#"{"id":1, "later":{"unknown":  [1.0]}}"#;
        let page = format!(r#"{{"diff":[{entry}],"hasMore":true}}"#);
        let server = TestServer::start([Canned::new(200).body(&page)]);
        let client = server.client_with_token();
        let page = client.diff::<Box<RawValue>>(7, 12).await.unwrap();
        assert_eq!(page.diff[0].get(), entry);
        assert!(page.has_more);
        let request = &server.requests()[0];
        assert!(request.starts_with("GET /collections/v2/diff?collectionID=7&sinceTime=12 "));
        assert!(request.contains("accept-encoding: gzip"));
        assert!(request.contains("x-auth-token: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="));
    }

    #[tokio::test]
    async fn a_list_may_be_null() {
        let server = TestServer::start([Canned::new(200).body(r#"{"collections":null}"#)]);
        assert!(
            server
                .client_with_token()
                .collections()
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn what_may_pass_is_repeated_and_no_more_often_than_asked() {
        let good = || Canned::new(200).body(r#"{"collections":[]}"#);
        for (answers, calls, ends) in [
            (vec![Canned::new(503), good()], 2, None),
            (vec![Canned::new(429), Canned::new(500), good()], 3, None),
            (
                vec![Canned::new(500), Canned::new(502), Canned::new(503)],
                3,
                Some(ErrorKind::Server),
            ),
            (vec![Canned::new(401)], 1, Some(ErrorKind::Unauthorized)),
            (vec![Canned::new(404)], 1, Some(ErrorKind::NotFound)),
            (
                vec![Canned::new(200).body("[]")],
                1,
                Some(ErrorKind::Protocol("JSON of the expected form")),
            ),
            (
                vec![
                    Canned::new(200)
                        .header("content-type", "text/html")
                        .body("<p>"),
                ],
                1,
                Some(ErrorKind::Protocol("JSON but a web page")),
            ),
        ] {
            let server = TestServer::start(answers);
            let result = server.client_with_token().collections().await;
            assert_eq!(result.err().map(|error| error.kind), ends);
            assert_eq!(server.requests().len(), calls);
        }
    }

    #[tokio::test]
    async fn only_a_clear_no_says_that_a_file_left() {
        let no = r#"{"code":"FILE_NOT_FOUND_IN_ALBUM","message":""}"#;
        for (answer, outcome) in [
            (Canned::new(200).body(r#"{"file":{}}"#), Some(true)),
            (Canned::new(404).body(no), Some(false)),
            (Canned::new(404).body("{}"), None),
            (Canned::new(403).body("{}"), None),
        ] {
            let server = TestServer::start([answer]);
            let asked = server.client_with_token().is_in_collection(7, 12).await;
            assert_eq!(asked.ok(), outcome);
            let request = &server.requests()[0];
            assert!(request.starts_with("GET /collections/file?collectionID=7&fileID=12 "));
        }
    }

    #[tokio::test]
    async fn no_server_is_unreachable() {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = client_of(&url).collections().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    }
}
