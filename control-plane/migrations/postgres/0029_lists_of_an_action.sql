-- A reviewer's list is one of each of their rules; narrowed to an action, each has an index for that, too, so that a page
-- costs the same however seldom the action is. Only adds.

CREATE INDEX requests_by_rule_action ON requests (service, rule, action, id);
CREATE INDEX requests_by_rule_action_state ON requests (service, rule, action, state, id);
CREATE INDEX grants_by_rule_action ON grants (service, rule, action, id);
CREATE INDEX grants_by_rule_action_state ON grants (service, rule, action, state, id);
CREATE INDEX post_reviews_by_rule_action ON post_reviews (service, rule, action, id);
CREATE INDEX post_reviews_by_rule_action_state ON post_reviews (service, rule, action, state, id);
CREATE INDEX requests_escalated_action ON requests (service, rule, action, id) WHERE escalated_at IS NOT NULL;
CREATE INDEX requests_escalated_action_state ON requests (service, rule, action, state, id) WHERE escalated_at IS NOT NULL;
