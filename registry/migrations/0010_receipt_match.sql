-- The ids of some operators come round within hours, and those of a broken one
-- never change: by id and account a receipt looked at all parts that ever had its
-- id. The destination tells them apart; an account hardly does. Building it holds up
-- the settling: run it when little is sent.
create index message_parts_receipt on message_parts (operator_id, dest);
drop index message_parts_operator_id;
