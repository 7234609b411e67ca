; SPDX-License-Identifier: BSD-2-Clause
; The vDSO's bytes (kernel/vdso/), as kernel/vdso.c copies them into the page that programs map.

global vdso_image
global vdso_image_end

section .rodata

vdso_image:
	incbin "vdso.so"
vdso_image_end:
