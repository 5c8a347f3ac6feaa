-- A challenge may have several codes, one after the other: message_id and nonce are
-- those of the last one. version_base keeps the version that its client sees growing:
-- it is the sum of what the Messages before had.
alter table challenges
    add column resend_id       bytea,        -- of the request that made the last sending; null: the first
    add column can_resend_at   timestamptz,
    add column version_base    integer not null default 0,
    add column presence        text not null default 'none',
    add column retry_at        timestamptz,  -- limited, step_up: when a new one may be asked for
    add column cancelled_at    timestamptz;  -- when its client took it back, whatever had become of it
