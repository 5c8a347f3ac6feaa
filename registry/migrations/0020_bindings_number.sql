-- Who had a number before whoever has it now: asked when it is bound.
create index bindings_number on bindings (number);
