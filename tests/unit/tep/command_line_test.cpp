// dstm-tep as an operator starts it: exit codes and what it prints.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/temp_dir.hpp"

namespace dstm {
namespace {

struct Ran {
    int code = -1;
    std::string output;  // both streams
};

Ran run_command(const std::string& command) {
    Ran ran;
    FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return ran;
    char buffer[4096];
    for (std::size_t size = 0; (size = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
        ran.output.append(buffer, size);
    }
    const int status = ::pclose(pipe);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

Ran run(const std::string& arguments) { return run_command(DSTM_TEP " " + arguments); }

TEST(TepCommandLine, HelpAndVersionAreSuccessesAndUnknownOptionsAreNot) {
    const Ran help = run("--help");
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.output.find("Exit codes"), std::string::npos);
    EXPECT_EQ(run("--version").code, 0);
    EXPECT_EQ(run("--no-such").code, 2);
}

TEST(TepCommandLine, ExampleConfigurationIsGood) {
    const Ran good = run("--check-config -c " DSTM_SOURCE_DIR "/docs/examples/dstm-tep.conf");
    EXPECT_EQ(good.code, 0) << good.output;
}

// What the host can do differs; each plane has its line, and the code says whether there is one.
TEST(TepCommandLine, ProbeSaysOfEachDataPlaneWhetherAndWhyNot) {
    const Ran probe = run("--probe");
    std::istringstream lines(probe.output);
    std::string line;
    bool can_carry = false;
    for (const std::string plane : {"bpf", "kernel", "tun"}) {
        std::getline(lines, line);
        const bool can = line.starts_with(plane + ": yes, ");
        can_carry = can_carry || can;
        EXPECT_TRUE(can || line.starts_with(plane + ": no, ")) << line;
        EXPECT_GT(line.size(), plane.size() + 7) << "with a reason";
    }
    EXPECT_FALSE(std::getline(lines, line)) << line;
    EXPECT_EQ(probe.code, can_carry ? 0 : 1);
}

// To be able to open a device is not enough, nor is a program that the kernel takes.
TEST(TepCommandLine, ProbeSaysNoForWantOfEachRight) {
    struct Row {
        const char* dropped;
        std::vector<std::string> told;
    };
    const Row rows[] = {
        {"-net_admin",
         {"bpf: no, create a TUN device: Operation not permitted\n", "kernel: no, ",
          "tun: no, create a TUN device: Operation not permitted\n"}},
        {"-net_raw",
         {"bpf: no, open a raw socket: Operation not permitted\n",
          "tun: no, open a raw socket: Operation not permitted\n"}},
        {"-bpf,-sys_admin", {"bpf: no, ", "(needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)\n",
                             "tun: yes, "}},
    };
    if (run("--probe").output.find("tun: yes, ") == std::string::npos) {
        GTEST_SKIP() << "this host can carry nothing";
    }
    for (const auto& row : rows) {
        const Ran probe = run_command(std::string("setpriv --bounding-set ") + row.dropped +
                                      " " DSTM_TEP " --probe");
        for (const auto& told : row.told) {
            EXPECT_NE(probe.output.find(told), std::string::npos)
                << row.dropped << ": " << told << "\n" << probe.output;
        }
    }
}

TEST(TepCommandLine, EveryMistakeIsPrintedWithItsLine) {
    test::TempDir directory;
    const std::string path = directory / "tep.conf";
    std::ofstream(path) << "{ \"dstm-tep\": {\n \"name\": 7,\n \"data-plane\": \"pigeon\",\n"
                           " \"extra\": 1 } }";
    for (const std::string how : {"--check-config -c ", "-c "}) {
        const Ran bad = run(how + path);
        EXPECT_EQ(bad.code, 2);
        for (const std::string told : {":2: dstm-tep.name", ":3: dstm-tep.data-plane",
                                       ":4: dstm-tep.extra", "dstm-tep.servers"}) {
            EXPECT_NE(bad.output.find(told), std::string::npos) << told << "\n" << bad.output;
        }
    }
}

TEST(TepCommandLine, FileThatIsMissingOrBrokenIsTold) {
    const Ran missing = run("-c /nonexistent/tep.conf");
    EXPECT_EQ(missing.code, 2);
    EXPECT_NE(missing.output.find("/nonexistent/tep.conf"), std::string::npos);
    test::TempDir directory;
    const std::string path = directory / "tep.conf";
    std::ofstream(path) << "{\n\"dstm-tep\": {";
    EXPECT_EQ(run("--check-config -c " + path).code, 2);
}

}  // namespace
}  // namespace dstm
