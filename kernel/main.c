// SPDX-License-Identifier: BSD-2-Clause
// The order in which the machine comes to life, and nothing else. The one file that may name every
// layer. Each step may use what the ones above it made.
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "fs/programs.h"
#include "kernel/acpi.h"
#include "kernel/bootinfo.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/irq.h"
#include "kernel/keyboard.h"
#include "kernel/kprintf.h"
#include "kernel/ktest.h"
#include "kernel/panic.h"
#include "kernel/pci.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/rtc.h"
#include "kernel/screen.h"
#include "kernel/serial.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"
#include "kernel/process.h"
#include "net/stack.h"
#include "server/http.h"

struct boot_info boot_info;
extern char image_phys_start[], image_phys_end[];

#define LOW_MEMORY (1UL << 20) // the firmware's, and where other processors will start

// Physical memory as entry.asm's page tables map it.
static const void *boot_memory(void *ctx, paddr_t addr, uint64_t len)
{
	return addr + len >= addr && addr + len <= 4UL << 30 ? phys_to_virt(addr) : NULL;
}

static void read_boot_information(enum boot_door door, paddr_t addr)
{
	static const struct boot_reader reader = {.at = boot_memory};
	uint64_t far;

	if (!bootinfo_parse(door, addr, &reader, &boot_info))
		PANIC("the boot loader's information (%s) makes no sense",
		      boot_info.loader ? boot_info.loader : "unknown");
	if (boot_info.ranges_lost)
		kprintf("memory map: more than %u ranges, some are not used\n", BOOT_MAX_RANGES);
	bootinfo_reserve(&boot_info, 0, LOW_MEMORY);
	bootinfo_reserve(&boot_info, (paddr_t)image_phys_start, (paddr_t)image_phys_end);
	far = bootinfo_drop_far(&boot_info);
	if (far)
		kprintf("memory map: %lu KB lie too far above the rest and are not used\n",
			far >> 10);
}

static uint64_t memory_mb(void)
{
	struct pmm_stats stats;

	pmm_stats(&stats);
	return stats.frames_total >> (20 - PAGE_SHIFT);
}

static void say_ready(const char *address)
{
	char port[8] = "";

	if (http_port() != 80)
		ksnprintf(port, sizeof(port), ":%u", http_port());
	kprintf("pagewire: ready http://%s%s/ %lu ms %lu cycles since kernel entry\n", address,
		port, (unsigned long)(clock_ns() / NS_PER_MS),
		(unsigned long)(clock_cycles() - boot_info.entry_cycles));
	screen_show();
}

void kmain(enum boot_door door, paddr_t info, uint64_t entry_cycles);
void kmain(enum boot_door door, paddr_t info, uint64_t entry_cycles)
{
	boot_info.entry_cycles = entry_cycles;
	cpu_init();
	serial_init();
	kprintf("Pagewire\n");
	read_boot_information(door, info);
	cmdline_parse(boot_info.cmdline);
	if (cmdline_selftest()) {
		pmm_set_junk(true);
		pool_set_junk(true);
	}
	vmm_init();
	pmm_init();
	screen_init();
	thread_init();
	acpi_init();
	irq_init();
	timer_init();
	wtd_init_cpu();
	pool_trim_start();
	screen_start();
	kprintf("%s, %lu MB of memory, %s\n", boot_info.loader, memory_mb(), cpu_model_text());
	cpu_say_weakness();
	serial_start_interrupts();
	rtc_init();
	pagecache_init();
	volume_init();
	pci_init();
	pci_probe_all();
	volume_mount_all();
	userfile_init();
	process_init();
	stack_init();
	http_start();
	if (cmdline_selftest())
		ktest_run_all();
	stack_set_address_hook(say_ready); // last: whoever reads the line may connect
	keyboard_init();
	console_start();
	thread_idle_loop();
}
