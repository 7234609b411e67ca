// SPDX-License-Identifier: BSD-2-Clause
// The HTTP server's lines in CONFIG (its limits) and MONITOR (what it is doing).
#include "fs/volume.h"
#include "kernel/console.h"
#include "server/http_conn.h"

static unsigned long seconds(uint64_t ns)
{
	return (unsigned long)(ns / NS_PER_SEC);
}

static void print_config(void)
{
	console_printf("HTTP: port %u, volume %s; %u connections, %u from one address\n",
		       http_config.port, http_root ? http_root->name : "(none)",
		       http_config.connections_max, http_config.per_address_max);
	console_printf("HTTP: head within %lu s, idle %lu s, stalled %lu s\n",
		       seconds(http_config.head_ns), seconds(http_config.idle_ns),
		       seconds(http_config.stall_ns));
}
CONSOLE_SECTION(http_config, "CONFIG", 50, print_config);

static void print_monitor(void)
{
	console_printf(
	    "HTTP: %u connections, %lu idle (%lu parked), %u requests in progress, %lu MB sent\n",
	    http_conn_count, (unsigned long)http_idle, (unsigned long)http_parked_count,
	    http_exchange_pool.used, (unsigned long)(http_bytes_sent >> 20));
}
CONSOLE_SECTION(http_monitor, "MONITOR", 51, print_monitor);
