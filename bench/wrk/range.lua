-- SPDX-License-Identifier: BSD-2-Clause
-- wrk -s range.lua URL -- BYTES SIZE: that many bytes from anywhere in a file of SIZE bytes.
local bytes, last

function init(args)
	bytes, last = tonumber(args[1]), tonumber(args[2]) - tonumber(args[1])
	math.randomseed(1)
end

function request()
	local from = math.random(0, last)
	return wrk.format(nil, nil, {Range = string.format("bytes=%d-%d", from, from + bytes - 1)})
end
