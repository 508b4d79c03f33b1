-- The one ordered log. What both sides still want of a row is `sides`; everything else is in `body`, checksummed.
CREATE TABLE log (
    position  INTEGER PRIMARY KEY,
    sender    INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    sides     INTEGER NOT NULL,
    body      BLOB NOT NULL
) STRICT;

-- The indexes behind it. Rows above meta.indexed may be missing here.
-- side: 1 the account received the row, 2 it sent it, 3 both. size is in bytes of content, time in Unix ms.
CREATE TABLE log_by_account (
    account  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    peer     INTEGER NOT NULL,
    side     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    PRIMARY KEY (account, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_by_peer (
    account  INTEGER NOT NULL,
    peer     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    PRIMARY KEY (account, peer, position)
) STRICT, WITHOUT ROWID;

-- The ring of recent client ids. What became of the send stands in its row of the log, and in value once that is gone.
CREATE TABLE client_id (
    account  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash     INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    value    BLOB,
    PRIMARY KEY (account, position)
) STRICT, WITHOUT ROWID;

-- Ids are never used again: the row of a deleted account stays, retired.
CREATE TABLE address (
    id      INTEGER PRIMARY KEY,
    text    TEXT NOT NULL,
    retired INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX address_live ON address (text) WHERE retired = 0;

-- Deleted accounts whose rows are not all cleared: opening goes on with them.
CREATE TABLE unswept (
    account INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE domain (
    name      TEXT PRIMARY KEY,
    overrides BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- registered_until: until when a contact counts in its presence, in Unix ms; opening loads those that have one.
CREATE TABLE account (
    id               INTEGER PRIMARY KEY,
    domain           TEXT NOT NULL,
    address          TEXT NOT NULL,
    record           BLOB NOT NULL,
    registered_until INTEGER
) STRICT;
CREATE INDEX account_registered ON account (registered_until) WHERE registered_until IS NOT NULL;
CREATE INDEX account_by_domain ON account (domain, address);

CREATE TABLE progress (
    account INTEGER PRIMARY KEY,
    value   BLOB NOT NULL
) STRICT;

CREATE TABLE buddy (
    account INTEGER NOT NULL,
    peer    INTEGER NOT NULL,
    version INTEGER NOT NULL,
    value   BLOB NOT NULL,
    PRIMARY KEY (account, peer)
) STRICT, WITHOUT ROWID;

-- How far an account and a peer are with what one sent to the other. Positions; each only ever rises.
CREATE TABLE mark (
    account   INTEGER NOT NULL,
    peer      INTEGER NOT NULL,
    read      INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    displayed INTEGER NOT NULL,
    PRIMARY KEY (account, peer)
) STRICT, WITHOUT ROWID;

-- Rows of the log that are to be looked at again, at a time in Unix ms. what: 0 they have expired, else the rules for what
-- nobody took for so many seconds.
CREATE TABLE due (
    time      INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    what      INTEGER NOT NULL,
    recipient INTEGER NOT NULL,
    PRIMARY KEY (time, position, what)
) STRICT, WITHOUT ROWID;
CREATE INDEX due_by_position ON due (position, what);

-- Rows of the log that a rule sends on, and where to. They stay until they are there.
CREATE TABLE forward (
    position  INTEGER NOT NULL,
    target    TEXT NOT NULL,
    redirects INTEGER NOT NULL,
    PRIMARY KEY (position, target)
) STRICT, WITHOUT ROWID;

-- Rows of the log that wait until their recipient decides on a stranger. size is in bytes of content.
CREATE TABLE quarantine (
    account  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sender   INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    PRIMARY KEY (account, position)
) STRICT, WITHOUT ROWID;

-- Rules, as JSON. owner: empty for the server, a domain's name, or an account's id.
CREATE TABLE rules (
    owner TEXT PRIMARY KEY,
    json  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pending (
    position  INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    origin    INTEGER NOT NULL,
    sender    TEXT NOT NULL,
    signal    BLOB NOT NULL,
    PRIMARY KEY (position, recipient)
) STRICT, WITHOUT ROWID;

-- Rows of the log that a relay has to settle.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY
) STRICT;

-- Deliveries of relays that were accepted, for 48 h. time is in Unix ms.
CREATE TABLE delivery (
    origin      INTEGER NOT NULL,
    recipient   INTEGER NOT NULL,
    delivery_id TEXT NOT NULL,
    time        INTEGER NOT NULL,
    PRIMARY KEY (origin, recipient, delivery_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_time ON delivery (time);

-- How far other engines' files were taken in: the position, there, of the latest delivery.
CREATE TABLE seen (
    file_generation INTEGER PRIMARY KEY,
    position        INTEGER NOT NULL
) STRICT;

CREATE TABLE credential (
    account   INTEGER NOT NULL,
    mechanism TEXT NOT NULL,
    verifier  BLOB NOT NULL,
    PRIMARY KEY (account, mechanism)
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
    account  INTEGER NOT NULL,
    path     TEXT NOT NULL,
    modified INTEGER NOT NULL,
    bytes    BLOB NOT NULL,
    PRIMARY KEY (account, path)
) STRICT;

-- file_generation: distinguishes this file from a restored backup of it. min_reader: what a version must read.
-- sent: the highest position that went into the outbox. reserved: every position below it may have been given. indexed: up to where the indexes are whole.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('file_generation', 0), ('min_reader', 1), ('minor', 0), ('features', 0),
    ('reserved', 1), ('indexed', 0), ('sent', 0);
