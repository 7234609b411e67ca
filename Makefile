# SPDX-License-Identifier: BSD-2-Clause
# make            build/pagewire.elf and build/pagewire.iso
# make help       everything else
CROSS_COMPILE ?= x86_64-linux-gnu-
CC      := $(CROSS_COMPILE)gcc
LD      := $(CROSS_COMPILE)ld
OBJCOPY := $(CROSS_COMPILE)objcopy
NM      := $(CROSS_COMPILE)nm
NASM    ?= nasm
B       := build

# -mgeneral-regs-only: no FPU or SSE state in the kernel, so no stack is aligned for it.
# -mcmodel=kernel: linked in the top 2 GB.
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wmissing-prototypes -Wstrict-prototypes -Wvla \
          -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone \
          -mgeneral-regs-only -mpreferred-stack-boundary=3 -fno-omit-frame-pointer -momit-leaf-frame-pointer \
          -fno-strict-aliasing -fno-common -fno-asynchronous-unwind-tables \
          -fstack-protector-strong -mstack-protector-guard=global \
          '-ffile-prefix-map=$(CURDIR)=.' -Iinclude -I. -MMD -MP
# No -g: gdb stumbles over what NASM says about code in more than one section. Names come from the symbol table.
NASMFLAGS := -f elf64

SRCS := $(wildcard kernel/*.c drivers/*.c fs/*.c net/*.c server/*.c tests/guest/*.c)
ASMS := $(wildcard boot/*.asm kernel/*.asm)
OBJS := $(SRCS:%.c=$(B)/%.o) $(ASMS:%.asm=$(B)/%.asm.o)

.PHONY: all
all: $(B)/pagewire.elf $(B)/pagewire.iso

include net/lwip/lwip.mk   # LWIP_CFLAGS, LWIP_OBJS: fetched, checked, patched, built
include server/crypto/crypto.mk # CRYPTO_CFLAGS, CRYPTO_OBJS: Argon2, SHA-256, MD5
include drivers/drivers.mk # the console font
include kernel/vdso/vdso.mk # what programs map to tell the time
include boot/boot.mk       # linking with symbols, the ISO
include tests/host/host.mk
include bench/bench.mk     # the floor, bench
include tools/tools.mk     # run, debug, test, help, clean

$(OBJS): CFLAGS += $(LWIP_CFLAGS)
$(B)/server/%.o: CFLAGS += $(CRYPTO_CFLAGS)
$(B)/%.o: %.c | $(LWIP_READY) $(CRYPTO_READY)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<
$(B)/%.asm.o: %.asm
	@mkdir -p $(@D)
	$(NASM) $(NASMFLAGS) -MD $(@:.o=.d) -MP -o $@ $<
-include $(OBJS:.o=.d)
