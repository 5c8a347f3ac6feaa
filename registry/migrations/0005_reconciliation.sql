-- Operators' daily files. A file is applied once; a crash in the middle leaves
-- done_at null, and the same file goes on where it was.
create table reconciled_files (
    id        bigint generated always as identity primary key,
    operator  text        not null,
    sha256    bytea       not null check (octet_length(sha256) = 32),
    lines     integer     not null,
    began_at  timestamptz not null,
    done_at   timestamptz,
    doubts    integer     not null default 0,   -- left to a person
    unique (operator, sha256)
);

-- Messages that a file settled. Its lines may stand in the next file, too, under
-- no id that we know: the row keeps them from another Message.
create table reconciled (
    message_id bytea       not null check (octet_length(message_id) = 24) primary key,
    file_id    bigint      not null references reconciled_files,
    rule       text        not null check (rule in ('id', 'reference', 'count', 'absence')),
    at         timestamptz not null
);
