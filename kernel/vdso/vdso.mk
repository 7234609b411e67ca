# SPDX-License-Identifier: BSD-2-Clause
# The shared object that the kernel maps into every program; kernel/vdso_image.asm holds its bytes.
VDSO_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -Wmissing-prototypes -ffreestanding -fPIC \
               -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables -mgeneral-regs-only -Iinclude

$(B)/kernel/vdso/clock.o: kernel/vdso/clock.c include/kernel/clock_page.h kernel/vdso/vdso.mk
	@mkdir -p $(@D)
	$(CC) $(VDSO_CFLAGS) -c -o $@ $<

$(B)/vdso.so: $(B)/kernel/vdso/clock.o kernel/vdso/vdso.ld
	$(LD) -shared -T kernel/vdso/vdso.ld -soname linux-vdso.so.1 --hash-style=both --build-id=none -Bsymbolic \
		-z max-page-size=4096 -z noexecstack --no-undefined -s -o $@ $<

$(B)/kernel/vdso_image.asm.o: NASMFLAGS += -I$(B)/
$(B)/kernel/vdso_image.asm.o: $(B)/vdso.so
