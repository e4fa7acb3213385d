-- Rollouts stand in the store; what became of them is in the history.
DROP TABLE rollout;
