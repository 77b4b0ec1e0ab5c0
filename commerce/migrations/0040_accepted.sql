-- What disagreed with an attempt and two people took for right, as a JSON list of texts; NULL if nothing did.
ALTER TABLE payment_attempts ADD COLUMN accepted TEXT;
