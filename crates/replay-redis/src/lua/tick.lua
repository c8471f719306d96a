-- Trims what is too old, or what is asked for, and makes the log if there is none.
-- ARGV: now, seed, idle topics, through, then the topics to trim up to it.
-- Returns whether the topics asked for still have something at or below `through`.
meta = open_log(ARGV[2], replid())
meta.now = math.max(meta.now, tonumber(ARGV[1]))
local budget = 1000
local through, more = tonumber(ARGV[4]), 0
for i = 5, #ARGV do
  local name = ARGV[i]
  local t = topic(name)
  while t do
    local seq, fields = oldest(name)
    if not seq or tonumber(seq) > through then
      break
    end
    if budget == 0 then
      more = 1
      break
    end
    trim_oldest(name, t, seq, fields)
    budget = budget - 1
  end
end
trim_old(budget)
flush()
forget(tonumber(ARGV[3]), 1000)
save_meta()
return more
