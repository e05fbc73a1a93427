// The programs as an operator starts them: exit codes and what they print.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "common/io/asio.hpp"
#include "temporary_directory.hpp"

namespace {

using namespace dstm;

struct Ran {
    int code = -1;
    std::string output;  // both streams
};

Ran run(const std::string& command) {
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

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

const std::string server = DSTM_SERVER;
const std::string ctl = DSTMCTL;

TEST(ServerCommandLine, HelpAndVersionAreSuccesses) {
    const Ran help = run(server + " --help");
    EXPECT_EQ(help.code, 0);
    EXPECT_TRUE(has(help.output, "Exit codes: 0"));
    EXPECT_EQ(run(server + " --version").code, 0);
    EXPECT_EQ(run(server + " --no-such").code, 2);
}

TEST(ServerCommandLine, CheckConfigFindsEveryMistakeOrNone) {
    EXPECT_EQ(run(server + " --check-config -c " DSTM_SOURCE_DIR "/docs/examples/dstm-server.conf")
                  .code, 0);
    test::TemporaryDirectory directory;
    const std::string path = directory.file("bad.conf");
    std::ofstream(path) << "{ \"dstm-server\": {\n \"name\": 7,\n \"extra\": 1 } }";
    const Ran bad = run(server + " --check-config -c " + path);
    EXPECT_EQ(bad.code, 2);
    EXPECT_TRUE(has(bad.output, path + ":2: dstm-server.name")) << bad.output;
    EXPECT_TRUE(has(bad.output, path + ":3: dstm-server.extra")) << bad.output;
    EXPECT_EQ(run(server + " -c " + path).code, 2);
    EXPECT_EQ(run(server + " -c /no/such/file").code, 2);
}

TEST(ServerCommandLine, WhatCannotBeCarriedOutIsAFailureAndNamed) {
    test::TemporaryDirectory directory;
    const std::string path = directory.file("server.conf");
    std::ofstream(path) << R"({ "dstm-server": { "name": "x",
        "tsp": { "listen": [ { "address": "192.0.2.1", "port": 3653 } ],
                 "mechanisms": [ "ANONYMOUS" ] },
        "sasl": {}, "kea": { "socket": ")" << directory.file("kea.sock") << R"(" },
        "endpoints": { "unix-socket": ")" << directory.file("endpoints.sock") << "\" } } }";
    const Ran ran = run(server + " -c " + path);
    EXPECT_EQ(ran.code, 1);
    EXPECT_TRUE(has(ran.output, "SERVER_CANNOT_START")) << ran.output;
    EXPECT_TRUE(has(ran.output, "192.0.2.1:3653")) << ran.output;
}

class WhoHadCommand : public testing::Test {
protected:
    WhoHadCommand() {
        std::ofstream(log_)
            << R"({"time":"2026-11-03T14:00:00Z","event":"started","user":"alice","host":"lab-7",)"
            << R"("type":"v4v6","address":"192.0.2.7","outer":"2001:db8:1::5","endpoint":"tep1",)"
            << R"("expires":"2026-11-03T15:00:00Z"})" "\n"
            << R"({"time":"2026-11-03T14:30:00Z","event":"ended","user":"alice","host":"lab-7",)"
            << R"("type":"v4v6","address":"192.0.2.7","outer":"2001:db8:1::5","endpoint":"tep1",)"
            << R"("expires":"2026-11-03T15:00:00Z","reason":"deleted by client"})" "\n";
    }
    Ran ask(const std::string& words) {
        return run(ctl + " who-had " + words + " --audit-log " + log_);
    }
    test::TemporaryDirectory directory_;
    std::string log_ = directory_.file("audit.jsonl");
};

TEST_F(WhoHadCommand, NamesTheHolder) {
    const Ran ran = ask("192.0.2.7 --at 2026-11-03T14:10");
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_TRUE(has(ran.output, "alice")) << ran.output;
    EXPECT_TRUE(has(ran.output, "2001:db8:1::5")) << ran.output;
    EXPECT_TRUE(has(ran.output, "deleted by client")) << ran.output;
    EXPECT_TRUE(has(ask("192.0.2.7 --at 2026-11-03T15:10+01:00 --json").output,
                    "\"user\": \"alice\""));
}

TEST_F(WhoHadCommand, SaysWhenNobodyHadIt) {
    const Ran ran = ask("192.0.2.7 --at 2026-11-03T14:45");
    EXPECT_EQ(ran.code, 1);
    EXPECT_TRUE(has(ran.output, "nobody had 192.0.2.7 at 2026-11-03T14:45:00Z")) << ran.output;
    EXPECT_EQ(ask("192.0.2.8").code, 1);
}

TEST_F(WhoHadCommand, BadWordsAreUsageErrors) {
    EXPECT_EQ(ask("192.0.2.700").code, 2);
    EXPECT_EQ(ask("192.0.2.7 --at yesterday").code, 2);
    EXPECT_EQ(run(ctl).code, 2);
    EXPECT_EQ(run(ctl + " who-had 192.0.2.7 --audit-log /no/such/file").code, 1);
}

// A daemon that gives one answer to one question.
class OneAnswer {
public:
    OneAnswer(const std::string& path, std::string answer)
        : acceptor_(context_, asio::local::stream_protocol::endpoint(path)),
          thread_([this, answer = std::move(answer)] {
              asio::local::stream_protocol::socket socket(context_);
              acceptor_.accept(socket);
              asio::read_until(socket, asio::dynamic_buffer(question_), '\n');
              asio::write(socket, asio::buffer(answer + "\n"));
          }) {}
    ~OneAnswer() { if (thread_.joinable()) thread_.join(); }
    std::string question() {
        thread_.join();
        return question_;
    }

private:
    asio::io_context context_;
    asio::local::stream_protocol::acceptor acceptor_;
    std::string question_;
    std::thread thread_;
};

TEST(ControlCommand, ListsAreTables) {
    test::TemporaryDirectory directory;
    const std::string path = directory.file("server.sock");
    OneAnswer daemon(path, R"({"result":0,"arguments":{"bindings":[{"address":"192.0.2.7",)"
                           R"("user":"alice","host":"","accepted":true}]}})");
    const Ran ran = run(ctl + " bindings --socket " + path);
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_TRUE(has(daemon.question(), "\"command\":\"bindings\""));
    EXPECT_TRUE(has(ran.output, "ADDRESS    PREFIX  USER   HOST")) << ran.output;
    EXPECT_TRUE(has(ran.output, "192.0.2.7  -       alice  -")) << ran.output;
}

TEST(ControlCommand, TunnelsOfAnEndpointAreShownWithTheirCounters) {
    test::TemporaryDirectory directory;
    const std::string path = directory.file("tep.sock");
    OneAnswer daemon(path, R"({"result":0,"arguments":{"tunnels":[{"spec":{"type":"v4v6",)"
                           R"("inner":"192.0.2.7","outer-client":"2001:db8:1::5"},)"
                           R"("packets-up":12,"bytes-up":3456,"packets-down":7,"bytes-down":8,)"
                           R"("last-seen-up":0,"last-seen-down":1793714401}]}})");
    const Ran ran = run(ctl + " tep-tunnels --socket " + path);
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_TRUE(has(daemon.question(), "\"command\":\"tunnels\""));
    EXPECT_TRUE(has(ran.output, "192.0.2.7")) << ran.output;
    EXPECT_TRUE(has(ran.output, "3456")) << ran.output;
    EXPECT_TRUE(has(ran.output, "-             2026-11-03T")) << ran.output;
}

TEST(ControlCommand, ARefusalAndADeadDaemonAreFailures) {
    test::TemporaryDirectory directory;
    const std::string path = directory.file("server.sock");
    EXPECT_EQ(run(ctl + " status --socket " + path).code, 1);
    OneAnswer daemon(path, R"({"result":1,"text":"not today"})");
    const Ran ran = run(ctl + " status --socket " + path);
    EXPECT_EQ(ran.code, 1);
    EXPECT_TRUE(has(ran.output, "not today")) << ran.output;
}

TEST(ControlCommand, PkiGetsItsOwnWords) {
    test::TemporaryDirectory directory;
    const Ran ran = run(ctl + " pki init --directory " + directory.file("pki"));
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_EQ(run(ctl + " pki issue tep1 --directory " + directory.file("pki")).code, 0);
    EXPECT_EQ(run("test -s " + directory.file("pki/tep1.crt")).code, 0);
    EXPECT_EQ(run(ctl + " pki nonsense").code, 2);
    EXPECT_EQ(run(ctl + " pki --help").code, 0);
}

}  // namespace
