// A made-up libnvidia-ml with two GPUs, for tests on machines that have none.
//
// GPU 0 is a well-behaved data-centre GPU. GPU 1 is a consumer GPU: many questions are not
// supported there, and its temperature sensor is broken. What the file CONTROL says is looked at on
// each call, so that a test can change its mind: a line `lost 1` takes GPU 1 off the bus, `denied`
// refuses power readings, `broken` makes nvmlInit fail.
#include <stdio.h>
#include <string.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, TOO_SMALL = 7, DRIVER_NOT_LOADED = 9, LOST = 15 };

typedef struct { int index; } Device;
static Device devices[2] = {{0}, {1}};

static int asked_for(const char *line) {
    char text[64];
    int found = 0;
    FILE *file = fopen(CONTROL, "r");
    if (!file) return 0;
    while (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = 0;
        found |= strcmp(text, line) == 0;
    }
    fclose(file);
    return found;
}

static int lost(Device *device) {
    return asked_for(device->index == 0 ? "lost 0" : "lost 1");
}

static int text(const char *value, char *out, unsigned length) {
    if (strlen(value) >= length) return TOO_SMALL;
    strcpy(out, value);
    return OK;
}

#define ALIVE if (lost(d)) return LOST;
#define FIRST ALIVE if (d->index != 0) return NOT_SUPPORTED;
#define NUMBER(name, check, first, second)                       \
    int name(Device *d, unsigned *out) {                         \
        check *out = d->index == 0 ? (first) : (second);         \
        return OK;                                               \
    }
#define TEXT(name, check, first, second)                         \
    int name(Device *d, char *out, unsigned length) {            \
        check return text(d->index == 0 ? (first) : (second), out, length); \
    }

int nvmlInit_v2(void) { return asked_for("broken") ? DRIVER_NOT_LOADED : OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "made up"; }
int nvmlSystemGetDriverVersion(char *out, unsigned length) { return text("550.54.15", out, length); }
int nvmlSystemGetNVMLVersion(char *out, unsigned length) { return text("12.550.54.15", out, length); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 12040; return OK; }
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = 2; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out) {
    if (index > 1) return INVALID;
    *out = &devices[index];
    return OK;
}

TEXT(nvmlDeviceGetName, ALIVE, "NVIDIA Made-Up H100", "NVIDIA Made-Up RTX")
TEXT(nvmlDeviceGetUUID, ALIVE, "GPU-00000000-aaaa-bbbb-cccc-000000000000", "GPU-11111111-aaaa-bbbb-cccc-111111111111")
TEXT(nvmlDeviceGetSerial, FIRST, "1650000000001", "")
TEXT(nvmlDeviceGetVbiosVersion, ALIVE, "96.00.61.00.01", "94.02.42.00.A9")
TEXT(nvmlDeviceGetGspFirmwareVersion, FIRST, "550.54.15", "")

NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, ALIVE, 5, 4)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, ALIVE, 16, 16)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, ALIVE, 5, 1)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, ALIVE, 16, 8)
NUMBER(nvmlDeviceGetNumGpuCores, ALIVE, 16896, 10240)
NUMBER(nvmlDeviceGetMemoryBusWidth, ALIVE, 5120, 320)
NUMBER(nvmlDeviceGetArchitecture, ALIVE, 9, 7)
NUMBER(nvmlDeviceGetPowerManagementLimit, ALIVE, 500000, 320000)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, ALIVE, 700000, 320000)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, ALIVE, 500000, 320000)
NUMBER(nvmlDeviceGetPersistenceMode, ALIVE, 1, 0)
NUMBER(nvmlDeviceGetComputeMode, ALIVE, 0, 3)

int nvmlDeviceGetPowerUsage(Device *d, unsigned *out) {
    ALIVE
    if (asked_for("denied")) return NO_PERMISSION;
    *out = d->index == 0 ? 123456 : 45000;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *out) {
    static unsigned long long millijoules = 1000;
    FIRST
    *out = millijoules += 500;
    return OK;
}

int nvmlDeviceGetTemperature(Device *d, int sensor, unsigned *out) {
    (void)sensor;
    ALIVE
    *out = d->index == 0 ? 41 : 4294967295u;
    return OK;
}

static int clock_of(Device *d, int type, unsigned *out) {
    ALIVE
    *out = type == 2 ? 2619 : 1980 - 100 * (unsigned)d->index;
    return OK;
}
int nvmlDeviceGetClockInfo(Device *d, int type, unsigned *out) { return clock_of(d, type, out); }
int nvmlDeviceGetMaxClockInfo(Device *d, int type, unsigned *out) { return clock_of(d, type, out); }
int nvmlDeviceGetApplicationsClock(Device *d, int type, unsigned *out) { FIRST return clock_of(d, type, out); }
int nvmlDeviceGetDefaultApplicationsClock(Device *d, int type, unsigned *out) { FIRST return clock_of(d, type, out); }

int nvmlDeviceGetPowerManagementLimitConstraints(Device *d, unsigned *low, unsigned *high) {
    FIRST
    *low = 200000;
    *high = 700000;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) {
    ALIVE
    *major = d->index == 0 ? 9 : 8;
    *minor = d->index == 0 ? 0 : 6;
    return OK;
}

int nvmlDeviceGetEccMode(Device *d, unsigned *now, unsigned *pending) {
    FIRST
    *now = 1;
    *pending = 1;
    return OK;
}

int nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *pending) {
    FIRST
    *now = *pending = 0;
    return OK;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
int nvmlDeviceGetMemoryInfo_v2(Device *d, Memory *out) {
    ALIVE
    out->total = d->index == 0 ? 85520809984ull : 10736369664ull;
    out->reserved = 500ull << 20;
    out->used = d->index == 0 ? 4ull << 20 : 1ull << 30;
    out->free = out->total - out->used - out->reserved;
    return OK;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
int nvmlDeviceGetPciInfo_v3(Device *d, Pci *out) {
    ALIVE
    memset(out, 0, sizeof *out);
    strcpy(out->bus_id, d->index == 0 ? "00000000:17:00.0" : "00000000:65:00.0");
    return OK;
}

typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Device *d, Utilization *out) {
    ALIVE
    out->gpu = d->index == 0 ? 0 : 97;
    out->memory = 0;
    return OK;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, unsigned long long *out) {
    ALIVE
    *out = d->index == 0 ? 0x4 : 0x48; // power cap; hardware slowdown and hardware thermal slowdown
    return OK;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *out) {
    ALIVE
    unsigned there = d->index == 0 ? 0 : 2;
    if (*count < there) {
        *count = there;
        return TOO_SMALL;
    }
    *count = there;
    for (unsigned i = 0; i < there; i++) out[i] = (Process){4000000 + i, 1 << 20, 0, 0};
    return OK;
}

int nvmlDeviceGetNvLinkState(Device *d, unsigned link, unsigned *out) {
    FIRST
    if (link >= 18) return INVALID;
    *out = link != 3;
    return OK;
}
int nvmlDeviceGetNvLinkVersion(Device *d, unsigned link, unsigned *out) {
    (void)link;
    FIRST
    *out = 4;
    return OK;
}
