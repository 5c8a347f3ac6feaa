-- What a confirmation stands on, for its receipt: how the person took part (as the
-- relying party said), how he was identified when the number was bound, and what was
-- known of a change of his SIM.
alter table bindings add column enrolled text not null default 'unrecorded';
alter table challenges add column sim_check text not null default 'not_asked';
alter table confirmations
    add column presence  text not null default 'none',
    add column enrolled  text not null default 'unrecorded',
    add column sim_check text not null default 'not_asked';
