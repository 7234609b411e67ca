// SPDX-License-Identifier: BSD-2-Clause
// The stack's start, its timers and its addresses, see net/stack.h.
//
// All of lwIP's timers hang on one delayed WTD, armed for the earliest of them; whoever lets lwIP work
// ends with stack_flush, which rings the doorbells and arms the timer anew.
#include "net/stack.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/timer.h"
#include "kernel/wtd.h"
#include "lwip/dhcp.h"
#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "net/address_watch.h"
#include "net/iface.h"
#include "net/ipline.h"
#include "net/loopback.h"
#include "net/mtu.h"
#include "net/random.h"
#include "net/socket.h"
#include "tcp_rcvbuf.h"
#include "tcp_timestamp.h"

// Fast WTD context (or WTDs disabled), one processor: no lock.
static struct ip_line ip_line; // method IP_DHCP unless the command line says otherwise
static void (*address_hook)(const char *address_text);
static uint64_t timer_due; // clock_ns; 0: not armed

static bool parse_ip(const char *value)
{
	struct ip_line parsed;

	if (!value || !ip_line_parse(value, &parsed))
		return false;
	ip_line = parsed;
	return true;
}
CMDLINE_OPTION(ip, "ip", "ip=dhcp | ip=<client>::<gateway>:<mask>:<host>:<dev>:off  IPv4 address",
	       parse_ip);

static bool parse_timestamps(const char *value)
{
	bool off = value && !strcmp(value, "off");

	if (!off && (!value || strcmp(value, "on")))
		return false;
	tcp_timestamps_on = !off;
	return true;
}
CMDLINE_OPTION(timestamps, "timestamps",
	       "timestamps=off  no time stamps in TCP segments, though a client offers them",
	       parse_timestamps);

// ---- timers -----------------------------------------------------------------------------------------

// lwIP's clock: milliseconds that wrap.
u32_t sys_now(void)
{
	return clock_ns() / NS_PER_MS;
}

// TCP's: read once in a batch of work, which ends with stack_flush.
static uint32_t batch_ms; // 0: not read yet

uint32_t tcp_now(void)
{
	if (!batch_ms)
		batch_ms = MAX(sys_now(), 1U);
	return batch_ms;
}

static uint64_t timer_runs;
KSTAT_COUNTER(timer_runs, "pagewire_net_timer_runs_total", "Times lwIP's timers were run.");

static void run_timers(struct wtd *work)
{
	timer_due = 0;
	timer_runs++;
	sys_check_timeouts();
	stack_flush();
}
static struct wtd timer_work = WTD_INIT(run_timers, "lwIP timers");

static void arm_timer(void)
{
	uint32_t ms = sys_timeouts_sleeptime();
	uint64_t now, due;

	if (ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE)
		return;
	now = clock_ns();
	due = now + ms * NS_PER_MS;
	if (timer_due && timer_due <= due)
		return;
	timer_due = due;
	wtd_post_after(&timer_work, WTD_FAST, due - now);
}

void stack_flush(void)
{
	iface_kick_all();
	arm_timer();
	batch_ms = 0;
}

uint32_t stack_window_buffers(const struct tcp_pcb *pcb)
{
	return tcp_rcvbuf_pbufs(pcb);
}

// ---- addresses --------------------------------------------------------------------------------------

static bool iface_text(const struct iface *iface, char *out, size_t size)
{
	const struct netif *netif = &iface->netif;

	if (!netif_is_up(netif) || !netif_is_link_up(netif) ||
	    ip4_addr_isany(netif_ip4_addr(netif)))
		return false;
	return ip4addr_ntoa_r(netif_ip4_addr(netif), out, size);
}

// The last of its addresses from number `least` on; 0 is the link-local one.
static bool iface_text6(const struct iface *iface, unsigned least, char *out, size_t size)
{
	const struct netif *netif = &iface->netif;

	for (unsigned i = LWIP_IPV6_NUM_ADDRESSES; i-- > least;)
		if (ip6_addr_isvalid(netif_ip6_addr_state(netif, i)))
			return ip6addr_ntoa_r(netif_ip6_addr(netif, i), out, size);
	return false;
}

// What stands in http://ADDRESS/: IPv4's; where there is to be none, that of IPv6 that a router gave.
static bool ready_text(const struct iface *iface, char *out, size_t size)
{
	char text[IP6ADDR_STRLEN_MAX];

	if (iface_text(iface, out, size))
		return true;
	if (ip_line.method != IP_OFF || !iface_text6(iface, 1, text, sizeof(text)))
		return false;
	ksnprintf(out, size, "[%s]", text);
	return true;
}

static void announce(struct iface *iface)
{
	char text[IP6ADDR_STRLEN_MAX + 2];

	if (!ready_text(iface, text, sizeof(text))) {
		iface->announced = false;
		return;
	}
	if (iface->announced || !address_hook)
		return;
	iface->announced = true;
	address_hook(text);
}

static void status_changed(struct netif *netif)
{
	announce(netif->state);
}

void stack_set_address_hook(void (*fn)(const char *address_text))
{
	wtd_disable();
	address_hook = fn;
	for (struct iface *iface = iface_first(); iface; iface = iface->next)
		announce(iface);
	wtd_enable();
}

bool stack_address_text(char *out, size_t size)
{
	for (struct iface *iface = iface_first(); iface; iface = iface->next)
		if (iface_text(iface, out, size))
			return true;
	for (struct iface *iface = iface_first(); iface; iface = iface->next)
		if (iface_text6(iface, 0, out, size))
			return true;
	return false;
}

// Whether the `ip=` line means the index-th card.
static bool line_is_for(const struct netdev *dev, unsigned index)
{
	char name[8];

	if (!ip_line.device[0])
		return index == 0;
	ksnprintf(name, sizeof(name), "eth%u", index);
	return !strcmp(ip_line.device, dev->name) || !strcmp(ip_line.device, name);
}

static void give_address(struct iface *iface, bool line_applies)
{
	struct netif *netif = &iface->netif;
	enum ip_method method = line_applies ? ip_line.method : IP_DHCP;

	if (ip_line.method == IP_OFF)
		method = IP_OFF;
	netif_set_status_callback(netif, status_changed);
	netif_set_link_callback(netif, status_changed);
	if (mtu_takes_ip6(iface)) {
		netif_create_ip6_linklocal_address(netif, 1);
		netif_set_ip6_autoconfig_enabled(netif, 1);
	}
	if (line_applies && ip_line.host[0])
		kstrlcpy(iface->hostname, ip_line.host, sizeof(iface->hostname));
	if (method == IP_STATIC) {
		ip4_addr_t client = {ip_line.client}, mask = {ip_line.mask};
		ip4_addr_t gateway = {ip_line.gateway};

		netif_set_addr(netif, &client, &mask, &gateway);
	}
	netif_set_up(netif);
	if (!netif_default)
		netif_set_default(netif);
	if (method == IP_DHCP && dhcp_start(netif) != ERR_OK)
		kprintf("net: %s: no memory for DHCP\n", iface->dev->name);
}

void stack_init(void)
{
	socket_init();
	unsigned index = 0;
	bool line_used = false;

	wtd_disable();
	net_random_init();
	lwip_init();
	loopback_init();
	for (struct netdev *dev = netdev_first(); dev; dev = dev->next, index++) {
		struct iface *iface = iface_add(dev);
		bool applies = line_is_for(dev, index);

		if (!iface)
			continue;
		line_used |= applies;
		mtu_begin(iface);
		give_address(iface, applies);
	}
	if (index)
		address_watch_start();
	else
		kprintf("net: no network card that we know: nobody reaches this machine\n");
	if (index && ip_line.device[0] && !line_used)
		kprintf("net: ip= names %s, which is no card here; DHCP is asked\n",
			ip_line.device);
	stack_flush();
	wtd_enable();
}

static void show(void)
{
	for (struct iface *iface = iface_first(); iface; iface = iface->next) {
		const uint8_t *mac = iface->dev->mac;
		char text[IP6ADDR_STRLEN_MAX];

		console_printf("%s (%s): %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, link %s\n",
			       iface->dev->name, iface->dev->model, mac[0], mac[1], mac[2], mac[3],
			       mac[4], mac[5], iface->netif.mtu,
			       iface->dev->link_up ? "up" : "down");
		if (iface_text(iface, text, sizeof(text)))
			console_printf("  IPv4 %s\n", text);
		else if (netif_dhcp_data(&iface->netif))
			console_printf("  IPv4 none yet: DHCP is asked\n");
		for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
			if (ip6_addr_isvalid(netif_ip6_addr_state(&iface->netif, i)) &&
			    ip6addr_ntoa_r(netif_ip6_addr(&iface->netif, i), text, sizeof(text)))
				console_printf("  IPv6 %s\n", text);
	}
}
CONSOLE_SECTION(net_config, "CONFIG", 40, show);
