// A made-up libnvidia-ml with two GPUs, for tests on machines that have none.
//
// GPU 0 is a well-behaved data-centre GPU. GPU 1 is a consumer GPU: many questions are not
// supported there, and its temperature sensor is broken. What the file CONTROL says is looked at on
// each call, so that a test can change its mind. One line each:
//   lost N         GPU N is off the bus
//   denied         power readings are refused
//   broken         nvmlInit fails
//   nonsense       every number of GPU 0 is absurd
//   mig            GPU 0 is divided: instances in places 0 and 2 of seven
//   throttle BITS  clocks event reasons of GPU 0
//   ecc COUNT      uncorrected memory errors of GPU 0
//   xid CODE       GPU 0 reports it, once for each such line
//   limit MILLIWATTS  power limit of GPU 0
//   energy 1       GPU 1 has a counter of its energy, too
//   stuck          PCIe throughput does not answer while this stands there
//   forbidden      clocks may not be locked
//   no memory lock memory clocks cannot be locked
//   user PID       a process that holds GPU 0; may be given again
// What changes a setting is written into the file CONTROL.log, a line for each call.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TOO_SMALL = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, LOST = 15 };

// `slice` is the place of a MIG instance, or -1 for a whole GPU.
typedef struct { int index, slice; } Device;
static Device devices[2] = {{0, -1}, {1, -1}};
static Device slices[2] = {{0, 0}, {0, 2}};

// How many lines begin with `word`; the number behind the one in place `which`.
static int lines(const char *word, int which, long long *number) {
    char text[64];
    int found = 0;
    FILE *file = fopen(CONTROL, "r");
    if (!file) return 0;
    while (fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = 0;
        if (strncmp(text, word, strlen(word)) != 0) continue;
        if (found == which && number) *number = strtoll(text + strlen(word), NULL, 0);
        found++;
    }
    fclose(file);
    return found;
}

static int asked_for(const char *line) { return lines(line, 0, NULL) > 0; }

static long long number_of(const char *word, long long otherwise) {
    lines(word, 0, &otherwise);
    return otherwise;
}

static void note(const char *what, Device *device, unsigned low, unsigned high) {
    FILE *file = fopen(CONTROL ".log", "a");
    if (!file) return;
    fprintf(file, "%s %d %u %u\n", what, device->index, low, high);
    fclose(file);
}

static int lost(Device *device) {
    return asked_for(device->index == 0 ? "lost 0" : "lost 1");
}

static int nonsense(Device *device) { return device->index == 0 && asked_for("nonsense"); }

static int text(const char *value, char *out, unsigned length) {
    if (strlen(value) >= length) return TOO_SMALL;
    strcpy(out, value);
    return OK;
}

#define THERE if (lost(d)) return LOST;
#define ALIVE THERE if (d->slice >= 0) return NOT_SUPPORTED;
#define FIRST ALIVE if (d->index != 0) return NOT_SUPPORTED;
#define NUMBER(name, check, first, second)                                   \
    int name(Device *d, unsigned *out) {                                     \
        check *out = nonsense(d) ? 4294967295u : d->index == 0 ? (first) : (second); \
        return OK;                                                           \
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


int nvmlDeviceGetName(Device *d, char *out, unsigned length) {
    THERE
    if (d->slice >= 0) return text("NVIDIA Made-Up H100 MIG 1g.10gb", out, length);
    return text(d->index == 0 ? "NVIDIA Made-Up H100" : "NVIDIA Made-Up RTX", out, length);
}

static const char *uuid(Device *d) {
    if (d->slice >= 0) return d->slice == 0 ? "MIG-aaaaaaaa-0000" : "MIG-aaaaaaaa-2222";
    return d->index == 0 ? "GPU-00000000-aaaa-bbbb-cccc-000000000000" : "GPU-11111111-aaaa-bbbb-cccc-111111111111";
}
int nvmlDeviceGetUUID(Device *d, char *out, unsigned length) { THERE return text(uuid(d), out, length); }
int nvmlDeviceGetHandleByUUID(const char *wanted, Device **out) {
    for (int i = 0; i < 2; i++) {
        *out = &devices[i];
        if (strcmp(wanted, uuid(*out)) == 0) return OK;
    }
    return NOT_FOUND;
}
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
NUMBER(nvmlDeviceGetPowerManagementLimit, ALIVE, number_of("limit ", 500000), 320000)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, ALIVE, 700000, 320000)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, ALIVE, number_of("limit ", 500000), 320000)
NUMBER(nvmlDeviceGetPersistenceMode, ALIVE, 1, 0)
NUMBER(nvmlDeviceGetComputeMode, ALIVE, 0, 3)

int nvmlDeviceGetPowerUsage(Device *d, unsigned *out) {
    ALIVE
    if (asked_for("denied")) return NO_PERMISSION;
    *out = nonsense(d) ? 4294967295u : d->index == 0 ? 123456 : 45000;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *out) {
    static unsigned long long millijoules[2] = {1000, 1000};
    ALIVE
    if (d->index != 0 && !asked_for("energy 1")) return NOT_SUPPORTED;
    *out = nonsense(d) ? ~0ull : (millijoules[d->index] += d->index == 0 ? 500 : 1500);
    return OK;
}

int nvmlDeviceGetTemperature(Device *d, int sensor, unsigned *out) {
    (void)sensor;
    ALIVE
    *out = d->index == 0 && !nonsense(d) ? 41 : 4294967295u;
    return OK;
}

static int clock_of(Device *d, int type, unsigned *out) {
    ALIVE
    *out = nonsense(d) ? 4294967295u : type == 2 ? 2619 : 1980 - 100 * (unsigned)d->index;
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
    *now = *pending = asked_for("mig");
    return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out) {
    FIRST
    *out = 7;
    return OK;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned place, Device **out) {
    FIRST
    if (!asked_for("mig") || (place != 0 && place != 2)) return NOT_FOUND;
    *out = &slices[place / 2];
    return OK;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
int nvmlDeviceGetMemoryInfo_v2(Device *d, Memory *out) {
    THERE
    out->total = d->slice >= 0 || d->index == 1 ? 10736369664ull : 85520809984ull;
    out->reserved = 500ull << 20;
    out->used = nonsense(d) ? ~0ull : d->index == 0 ? 4ull << 20 : 1ull << 30;
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
    if (d->index == 0 && asked_for("mig")) return NOT_SUPPORTED;
    out->gpu = nonsense(d) ? 4294967295u : d->index == 0 ? 0 : 97;
    out->memory = 0;
    return OK;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, unsigned long long *out) {
    ALIVE
    // The power cap; hardware slowdown and hardware thermal slowdown.
    *out = d->index == 0 ? (unsigned long long)number_of("throttle ", 0x4) : 0x48;
    return OK;
}

typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *out) {
    ALIVE
    unsigned there = d->index == 0 ? (unsigned)lines("user ", 0, NULL) : 2;
    if (*count < there) {
        *count = there;
        return TOO_SMALL;
    }
    *count = there;
    for (unsigned i = 0; i < there; i++) {
        long long pid = 4000000 + i;
        if (d->index == 0) lines("user ", (int)i, &pid);
        out[i] = (Process){(unsigned)pid, 1 << 20, 0, 0};
    }
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

typedef struct { unsigned id, scope; long long at, latency; unsigned type; int code; unsigned long long value; } FieldValue;
int nvmlDeviceGetFieldValues(Device *d, int count, FieldValue *values) {
    ALIVE
    for (int i = 0; i < count; i++) {
        // Temperature of the memory, as an unsigned integer.
        values[i].code = d->index == 0 && values[i].id == 82 ? OK : NOT_SUPPORTED;
        values[i].type = 1;
        values[i].value = nonsense(d) ? 4294967295u : 52;
    }
    return OK;
}

int nvmlDeviceGetPcieThroughput(Device *d, int counter, unsigned *out) {
    FIRST
    do usleep(20000);
    while (asked_for("stuck"));
    *out = nonsense(d) ? 4294967295u : counter == 0 ? 1500 : 2500;
    return OK;
}

int nvmlDeviceGetTotalEccErrors(Device *d, int type, int counter, unsigned long long *out) {
    FIRST
    *out = nonsense(d) ? ~0ull : counter == 1 ? 9 : type == 0 ? 3 : (unsigned long long)number_of("ecc ", 0);
    return OK;
}

// A set of one GPU's events.
typedef struct { Device *device; int delivered; } Set;
typedef struct { Device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } Event;
enum { XID = 8 };
int nvmlEventSetCreate(Set **out) { return (*out = calloc(1, sizeof **out)) ? OK : INVALID; }
int nvmlEventSetFree(Set *set) { free(set); return OK; }
int nvmlDeviceGetSupportedEventTypes(Device *d, unsigned long long *out) { ALIVE *out = XID; return OK; }
int nvmlDeviceRegisterEvents(Device *d, unsigned long long types, Set *set) {
    ALIVE
    if (types != XID) return NOT_SUPPORTED;
    set->device = d;
    return OK;
}
int nvmlEventSetWait_v2(Set *set, Event *out, unsigned timeout_ms) {
    long long code = 0;
    if (!set->device || lost(set->device)) return LOST;
    if (set->device->index == 0 && lines("xid ", set->delivered, &code) > set->delivered) {
        set->delivered++;
        *out = (Event){set->device, XID, (unsigned long long)code, 0, 0};
        return OK;
    }
    usleep(timeout_ms * 1000);
    return TIMEOUT;
}

static int set_clocks(Device *d, const char *what, unsigned low, unsigned high) {
    if (asked_for("forbidden")) return NO_PERMISSION;
    note(what, d, low, high);
    return OK;
}
int nvmlDeviceSetGpuLockedClocks(Device *d, unsigned low, unsigned high) { ALIVE return set_clocks(d, "lock", low, high); }
int nvmlDeviceResetGpuLockedClocks(Device *d) { ALIVE return set_clocks(d, "reset", 0, 0); }
int nvmlDeviceSetMemoryLockedClocks(Device *d, unsigned low, unsigned high) {
    FIRST
    if (asked_for("no memory lock")) return NOT_SUPPORTED;
    return set_clocks(d, "lock-memory", low, high);
}
int nvmlDeviceResetMemoryLockedClocks(Device *d) { FIRST return set_clocks(d, "reset-memory", 0, 0); }
