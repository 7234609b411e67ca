-- SPDX-License-Identifier: BSD-2-Clause
-- wrk -s pipeline.lua URL -- DEPTH: that many requests at once on each connection.
local all

function init(args)
	local one = {}
	for n = 1, tonumber(args[1]) do
		one[n] = wrk.format()
	end
	all = table.concat(one)
end

function request()
	return all
end
