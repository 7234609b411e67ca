-- SPDX-License-Identifier: BSD-2-Clause
-- wrk -s once.lua URL -- COUNT: URL1.bin, URL2.bin, ... up to COUNT, each once. Then it says
-- `once: done`, and who runs wrk ends it by SIGINT (its own main thread sleeps until the time is up).
local asked, answered, count = 0, 0, 0

function init(args)
	count = tonumber(args[1])
end

function request()
	asked = asked % count + 1
	return wrk.format(nil, wrk.path .. asked .. ".bin")
end

function response()
	answered = answered + 1
	if answered == count then
		io.write("once: done\n")
		io.flush()
	end
end
