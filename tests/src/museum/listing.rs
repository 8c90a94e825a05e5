//! The library routes: collections, diffs, trash, and links to objects.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{ApiError, BAD_REQUEST, FORBIDDEN, NOT_FOUND, json_text, with_type};
use super::paging::page;
use super::server::Shared;
use super::session::{App, Params, Session};
use crate::library::Part;

type Answer = Result<Json<Value>, ApiError>;

pub(crate) async fn ping() -> Json<Value> {
    Json(json!({"message": "pong", "id": "stand-in"}))
}

pub(crate) async fn session_validity(
    State(shared): State<Arc<Shared>>,
    session: Session,
) -> Json<Value> {
    let libraries = shared.libraries();
    let attributes = &libraries[session.account].account().key_attributes;
    Json(json!({"hasSetKeys": true, "keyAttributes": attributes}))
}

pub(crate) async fn collections(
    State(shared): State<Arc<Shared>>,
    session: Session,
    params: Params,
) -> Json<Value> {
    let since = number(&params, "sinceTime").unwrap_or(0);
    let mut collections = shared.libraries()[session.account].stored().collections();
    // Everything here was put there by the photos app; another one sees nothing of it.
    collections.retain(|(time, _)| *time > since && session.app == App::Photos);
    let collections: Vec<Value> = collections
        .into_iter()
        .map(|(_, collection)| collection)
        .collect();
    Json(json!({"collections": collections}))
}

pub(crate) async fn collection(
    State(shared): State<Arc<Shared>>,
    session: Session,
    Path(id): Path<String>,
) -> Answer {
    let id = id.parse().map_err(|_| BAD_REQUEST)?;
    let collection = shared.libraries()[session.account].stored().collection(id);
    collection
        .map(|collection| Json(json!({"collection": collection})))
        .ok_or(NOT_FOUND)
}

pub(crate) async fn diff(
    State(shared): State<Arc<Shared>>,
    session: Session,
    params: Params,
) -> Result<Response, ApiError> {
    let id = number(&params, "collectionID").ok_or(BAD_REQUEST)?;
    let since = number(&params, "sinceTime").unwrap_or(0);
    let size = shared.options.page_size;
    let libraries = shared.libraries();
    let library = &libraries[session.account];
    if let Some(prepared) = library.stored().page(id, since, size) {
        return Ok(json_text(StatusCode::OK, prepared));
    }
    let rows = library.stored().rows(id).ok_or(NOT_FOUND)?;
    let (files, has_more) = page(rows, since, size);
    let diff: Vec<Value> = files
        .into_iter()
        .map(|file| library.row(id, file))
        .collect();
    Ok(Json(json!({"diff": diff, "hasMore": has_more})).into_response())
}

pub(crate) async fn single_file(
    State(shared): State<Arc<Shared>>,
    session: Session,
    params: Params,
) -> Answer {
    let collection = number(&params, "collectionID").ok_or(BAD_REQUEST)?;
    let file = number(&params, "fileID").ok_or(BAD_REQUEST)?;
    let libraries = shared.libraries();
    let row = libraries[session.account].stored().single(collection, file);
    row.map(|file| Json(json!({"file": file})))
        .ok_or(ApiError::Typed(
            StatusCode::NOT_FOUND,
            "FILE_NOT_FOUND_IN_ALBUM",
        ))
}

pub(crate) async fn trash(
    State(shared): State<Arc<Shared>>,
    session: Session,
    params: Params,
) -> Json<Value> {
    let since = number(&params, "sinceTime").unwrap_or(0);
    let libraries = shared.libraries();
    let stored = libraries[session.account].stored();
    let (files, has_more) = page(stored.trash_rows(), since, shared.options.page_size);
    let diff: Vec<Value> = files
        .into_iter()
        .map(|file| stored.trash_row(file))
        .collect();
    Json(json!({"diff": diff, "hasMore": has_more}))
}

/// `POST /files/info`: sizes of owned files; one file of somebody else fails the whole call.
pub(crate) async fn info(
    State(shared): State<Arc<Shared>>,
    session: Session,
    body: Bytes,
) -> Answer {
    let body: Value = serde_json::from_slice(&body).map_err(|_| BAD_REQUEST)?;
    let ids = body["fileIDs"].as_array().ok_or(BAD_REQUEST)?;
    let libraries = shared.libraries();
    let stored = libraries[session.account].stored();
    let mut infos = Vec::new();
    for id in ids {
        let id = id.as_i64().ok_or(BAD_REQUEST)?;
        let (file, thumbnail) = stored.sizes(id).ok_or(FORBIDDEN)?;
        infos.push(json!({"id": id, "fileInfo": {"fileSize": file, "thumbSize": thumbnail}}));
    }
    Ok(Json(json!({"filesInfo": infos})))
}

pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    redirect(&shared, &session, &id, Part::Original)
}

pub(crate) async fn preview(
    State(shared): State<Arc<Shared>>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    redirect(&shared, &session, &id, Part::Thumbnail)
}

/// 307 to the object store, with the small HTML body that the real server adds.
fn redirect(
    shared: &Shared,
    session: &Session,
    id: &str,
    part: Part,
) -> Result<Response, ApiError> {
    // The real server reads an ID that is no number as 0, which no file has.
    let file = id.parse().unwrap_or(0);
    let (key, user) = {
        let libraries = shared.libraries();
        let library = &libraries[session.account];
        (
            library.stored().object(file, part)?,
            library.account().user_id,
        )
    };
    let link = shared.presign(session.account, user, key);
    let html = format!(
        "<a href=\"{}\">Temporary Redirect</a>.\n\n",
        link.replace('&', "&amp;")
    );
    let mut response = with_type(
        StatusCode::TEMPORARY_REDIRECT,
        "text/html; charset=utf-8",
        html.into(),
    );
    let location = HeaderValue::from_str(&link).expect("a link is ASCII");
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn number(params: &Params, name: &str) -> Option<i64> {
    let Query(params) = params;
    params.get(name)?.parse().ok()
}
