//! The tables of the file, and the steps from one version of them to the next.
//!
//! # Invariants
//! 1. A step that was released never changes; a file of every version can be brought up to date.
//! 2. What a person asks is a view with names, times and texts that need no explanation.
//!
//! *Not here*: running these texts (`database`).

/// "undy": which files are ours.
pub(super) const APPLICATION_ID: i32 = 0x756e_6479;

/// What brings a file from each version to the next; its length is the newest version.
pub(super) const STEPS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

const VERSION_1: &str = r"
-- What was asked, once for each task (and once more when it moved to another scope).
CREATE TABLE spec (
    id INTEGER PRIMARY KEY,
    task TEXT NOT NULL,
    body TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX spec_by_task ON spec (task);

-- What is true of each task now. To read it, use the view `tasks`.
CREATE TABLE task (
    id TEXT PRIMARY KEY NOT NULL,
    spec INTEGER NOT NULL,
    scope TEXT NOT NULL,
    state TEXT NOT NULL,
    parent TEXT,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX task_by_state ON task (scope, state, created DESC, id DESC);
CREATE INDEX task_by_scope ON task (scope, created DESC, id DESC);
CREATE INDEX task_by_parent ON task (parent) WHERE parent IS NOT NULL;

-- What happened, in order. To read it, use the view `events`.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    task TEXT NOT NULL,
    spec INTEGER NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX event_by_task ON event (task);

-- The scopes that take no tasks any more.
CREATE TABLE closed (
    scope TEXT PRIMARY KEY NOT NULL,
    checksum INTEGER NOT NULL
);

-- Facts about the file.
CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

-- Each task with its name, or the short form of its id.
CREATE VIEW named AS
SELECT t.id, t.parent, coalesce(json_extract(s.body, '$.name'), substr(t.id, -8)) AS name
FROM task t JOIN spec s ON s.id = t.spec;

CREATE VIEW tasks AS
SELECT
    t.id,
    t.scope,
    (WITH RECURSIVE up (above, path, depth) AS (
        SELECT n.parent, n.name, 0 FROM named n WHERE n.id = t.id
        UNION ALL
        SELECT n.parent, n.name || '/' || up.path, up.depth + 1
        FROM up JOIN named n ON n.id = up.above
    ) SELECT path FROM up ORDER BY depth DESC LIMIT 1) AS path,
    json_extract(s.body, '$.kind') AS kind,
    t.state,
    coalesce(
        (SELECT w.key FROM json_each(t.body, '$.wait') w WHERE w.type <> 'text' OR w.key <> 'wait'),
        json_extract(t.body, '$.wait')
    ) AS waits_for,
    t.parent,
    json_extract(t.body, '$.root') AS root,
    coalesce(json_extract(t.body, '$.attempt'), 0) AS attempt,
    strftime('%Y-%m-%dT%H:%M:%fZ', t.created / 1000000.0, 'unixepoch') AS created,
    strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(t.body, '$.started_at') / 1000000.0, 'unixepoch')
        AS started,
    strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(t.body, '$.ended_at') / 1000000.0, 'unixepoch')
        AS ended,
    json_extract(t.body, '$.outcome.completed') AS value,
    coalesce(
        json_extract(t.body, '$.outcome.failed.message'),
        json_extract(t.body, '$.outcome.timed_out.limit'),
        json_extract(t.body, '$.outcome.interrupted')
    ) AS error,
    json_extract(t.body, '$.stop.reason') AS stop_reason,
    json_extract(t.body, '$.progress') AS progress,
    json_extract(s.body, '$.input') AS input,
    json_extract(s.body, '$.labels') AS labels,
    json_extract(s.body, '$.description') AS description,
    json_extract(t.body, '$.external_ref') AS external_ref
FROM task t JOIN spec s ON s.id = t.spec;

-- What runs, under whom, since when.
CREATE VIEW running AS
SELECT
    path,
    kind,
    scope,
    (SELECT n.name FROM named n WHERE n.id = tasks.parent) AS under,
    started AS since,
    attempt,
    state,
    waits_for,
    id
FROM tasks
WHERE state IN ('running', 'waiting', 'cancel_requested')
ORDER BY started;

CREATE VIEW events AS
SELECT
    seq,
    strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000000.0, 'unixepoch') AS at,
    type,
    (SELECT n.name FROM named n WHERE n.id = event.task) AS name,
    json_extract(body, '$.state') AS state,
    coalesce(json_extract(body, '$.attempt'), 0) AS attempt,
    json_extract(body, '$.what.' || type) AS data,
    task
FROM event;

INSERT INTO meta VALUES
    ('about', 'Tasks of understory. Ask the views: tasks, running, events.');
";

const VERSION_2: &str = r"
-- Who writes this file: one manager of one process, in the newest epoch. What others write is
-- refused. The time to live is in microseconds.
CREATE TABLE lease (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    owner TEXT,
    epoch INTEGER NOT NULL,
    renewal INTEGER NOT NULL,
    ttl INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
INSERT INTO lease VALUES (1, NULL, 0, 0, 0, 420107693);
";

/// The specs of tasks say how many messages an inbox takes and how often progress is told, where
/// that was asked for.
const VERSION_3: &str = "";
