-- Indexes that have each part of a list in its order, with and without a state, so that a page of any list costs the same
-- however many rows there are. Only adds.

CREATE INDEX requests_by_state ON requests (state, id);
CREATE INDEX requests_by_requester_state ON requests (requester_issuer, requester_subject, state, id);
CREATE INDEX requests_by_rule_state ON requests (service, rule, state, id);
CREATE INDEX requests_by_service ON requests (service, id);
CREATE INDEX requests_by_service_state ON requests (service, state, id);
CREATE INDEX requests_by_action ON requests (service, action, id);
CREATE INDEX requests_by_action_state ON requests (service, action, state, id);

CREATE INDEX grants_by_state ON grants (state, id);
CREATE INDEX grants_by_holder_state ON grants (holder_issuer, holder_subject, state, id);
CREATE INDEX grants_by_rule_state ON grants (service, rule, state, id);
CREATE INDEX grants_by_service ON grants (service, id);
CREATE INDEX grants_by_service_state ON grants (service, state, id);
CREATE INDEX grants_by_action ON grants (service, action, id);
CREATE INDEX grants_by_action_state ON grants (service, action, state, id);
