// Running the tool: against a script that stands for nsupdate and does what a test wants.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/io/asio.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"
#include "support/temp_dir.hpp"
#include "unit/dstm-server/event_loop.hpp"

namespace dstm::server {
namespace {

class NsupdateDelegation : public testing::Test {
protected:
    NsupdateDelegation() {
        config_.server = {*parse_ip_address("192.0.2.1"), 53};
        config_.zones = {"8.b.d.0.1.0.0.2.ip6.arpa"};
        config_.key_file = write("key", "secret", 0600);
        config_.tool = folder_ / "nsupdate";
        tool("cat >> " + (folder_ / "input"));
    }
    std::string write(const std::string& name, const std::string& text, mode_t mode) {
        const std::string path = folder_ / name;
        std::ofstream(path) << text;
        EXPECT_EQ(::chmod(path.c_str(), mode), 0);
        return path;
    }
    void tool(const std::string& body) { write("nsupdate", "#!/bin/sh\n" + body + "\n", 0700); }
    std::string content(const std::string& name) {
        std::ostringstream text;
        text << std::ifstream(folder_ / name).rdbuf();
        return text.str();
    }
    void start() {
        auto made = make_reverse_delegation(events_, config_);
        ASSERT_TRUE(made) << made.error().context;
        dns_ = *std::move(made);
    }
    std::string mistake() {
        const auto made = make_reverse_delegation(events_, config_);
        return made ? "none" : made.error().context;
    }
    // Each result is written into outcomes_ as "name=code".
    Done<void> note(const std::string& name) {
        return [this, name](Result<void> result) {
            outcomes_.push_back(name + "=" + (result ? "ok" : to_string(result.error().code)));
            if (!result) context_ = result.error().context;
        };
    }
    bool wait_for(std::size_t count) {
        return test::run_until(events_, [&] { return outcomes_.size() >= count; });
    }
    static Ipv6Prefix prefix(int i) {
        return *Ipv6Prefix::parse("2001:db8:200:" + std::to_string(i) + "00::/56");
    }

    asio::io_context events_;
    test::TempDir folder_;
    ReverseDelegationConfig config_;
    std::unique_ptr<ReverseDelegation> dns_;
    std::vector<std::string> outcomes_;
    std::string context_;
};

using Outcomes = std::vector<std::string>;

TEST_F(NsupdateDelegation, TheToolGetsTheScriptOnItsInputAndTheKeyByFile) {
    tool("echo \"$#\" \"$@\" > " + (folder_ / "arguments") + "; env > " +
         (folder_ / "environment") + "; cat > " + (folder_ / "input"));
    start();
    dns_->delegate(prefix(1), {"ns.example.org"}, note("one"));
    EXPECT_TRUE(outcomes_.empty()) << "never from inside the call";
    ASSERT_TRUE(wait_for(1));
    EXPECT_EQ(outcomes_, Outcomes{"one=ok"});
    EXPECT_EQ(content("arguments"), "3 -v -k " + config_.key_file + "\n");
    EXPECT_NE(content("input").find(" 3600 NS ns.example.org.\n"), std::string::npos);
    EXPECT_TRUE(content("input").ends_with("send\n"));
    EXPECT_EQ(content("environment").find("HOME="), std::string::npos);
}

TEST_F(NsupdateDelegation, ItsFailuresAreToldApartAndItsOutputIsQuoted) {
    tool("cat > /dev/null; printf 'update failed: REFUSED\\n\\033[2J' >&2; exit 2");
    start();
    dns_->withdraw(prefix(1), note("refused"));
    ASSERT_TRUE(wait_for(1));
    EXPECT_NE(context_.find("update failed: REFUSED\\x0a\\x1b[2J"), std::string::npos) << context_;
    tool("echo '; Communication with 192.0.2.1#53 failed: timed out'; exit 2");
    dns_->withdraw(prefix(1), note("unreachable"));
    ASSERT_TRUE(wait_for(2));
    tool("echo 'update failed: SERVFAIL'; exit 2");
    dns_->withdraw(prefix(1), note("busy"));
    ASSERT_TRUE(wait_for(3));
    tool("kill -9 $$");
    dns_->withdraw(prefix(1), note("killed"));
    ASSERT_TRUE(wait_for(4));
    EXPECT_EQ(outcomes_, (Outcomes{"refused=refused", "unreachable=unavailable", "busy=unavailable",
                                   "killed=unavailable"}));
}

TEST_F(NsupdateDelegation, OneThatFloodsOrReadsNothingHarmsNobody) {
    tool("head -c 3000000 /dev/zero; exit 1");
    start();
    dns_->withdraw(prefix(1), note("flood"));
    ASSERT_TRUE(wait_for(1));
    EXPECT_LT(context_.size(), 1000U);
    tool("exec 0<&- 1>&- 2>&-; exit 0");
    dns_->withdraw(prefix(1), note("deaf"));
    ASSERT_TRUE(wait_for(2));
    EXPECT_EQ(outcomes_, (Outcomes{"flood=unavailable", "deaf=ok"}));
}

TEST_F(NsupdateDelegation, OneThatHangsIsKilledWithItsChildren) {
    config_.timeout = std::chrono::seconds(1);
    tool("sleep 1000 & echo $! > " + (folder_ / "child") + "; wait");
    start();
    dns_->withdraw(prefix(1), note("hangs"));
    ASSERT_TRUE(wait_for(1));
    EXPECT_EQ(outcomes_, Outcomes{"hangs=timed out"});
    const pid_t child = std::stoi(content("child"));
    // Dead at once; its entry goes when init has taken note.
    EXPECT_TRUE(test::run_until(events_, [&] {
        std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
        std::string text;
        return !std::getline(stat, text) || text.find(") Z ") != std::string::npos;
    }));
}

TEST_F(NsupdateDelegation, OneThatIsNotThereAnyMoreIsUnavailable) {
    start();
    ASSERT_EQ(::unlink(config_.tool.c_str()), 0);
    dns_->withdraw(prefix(1), note("gone"));
    EXPECT_TRUE(outcomes_.empty());
    ASSERT_TRUE(wait_for(1));
    EXPECT_EQ(outcomes_, Outcomes{"gone=unavailable"});
}

TEST_F(NsupdateDelegation, OnlySoManyRunAndWait) {
    config_.concurrent_max = 2;
    config_.waiting_max = 3;
    // Each waits for the others that may run beside it.
    tool("echo x >> " + (folder_ / "running") + "; until [ -e " + (folder_ / "go") +
         " ]; do :; done");
    start();
    for (int i = 0; i < 7; ++i) dns_->withdraw(prefix(i), note(std::to_string(i)));
    ASSERT_TRUE(wait_for(2));
    EXPECT_EQ(outcomes_, (Outcomes{"5=exhausted", "6=exhausted"}));
    ASSERT_TRUE(test::run_until(events_, [&] { return content("running") == "x\nx\n"; }));
    write("go", "", 0600);
    ASSERT_TRUE(wait_for(7));
    EXPECT_EQ(content("running"), "x\nx\nx\nx\nx\n");
}

TEST_F(NsupdateDelegation, UpdatesOfOnePrefixKeepTheirOrder) {
    start();
    for (int round = 0; round < 5; ++round) {
        dns_->delegate(prefix(1), {"ns.example.org"}, note("add"));
        dns_->withdraw(prefix(1), note("remove"));
    }
    ASSERT_TRUE(wait_for(10));
    for (std::size_t i = 0; i < 10; ++i) {
        EXPECT_EQ(outcomes_[i], i % 2 == 0 ? "add=ok" : "remove=ok");
    }
    EXPECT_TRUE(content("input").ends_with("send\n"));
}

TEST_F(NsupdateDelegation, BadNameServersReachNoTool) {
    start();
    dns_->delegate(prefix(1), {"ns.example.org\nupdate delete example.org."}, note("injection"));
    dns_->delegate(*Ipv6Prefix::parse("2001:db9::/56"), {"ns.example.org"}, note("outside"));
    ASSERT_TRUE(wait_for(2));
    EXPECT_EQ(outcomes_, (Outcomes{"injection=invalid", "outside=invalid"}));
    EXPECT_EQ(content("input"), "");
}

TEST_F(NsupdateDelegation, DestroyedInTheMiddleItLeavesNoProcess) {
    tool("echo $$ > " + (folder_ / "pid") + "; cat > /dev/null; sleep 1000");
    start();
    dns_->withdraw(prefix(1), note("never"));
    ASSERT_TRUE(test::run_until(events_, [&] { return content("pid").ends_with("\n"); }));
    const std::string pid = content("pid");
    dns_.reset();
    test::run_ready(events_);
    EXPECT_TRUE(outcomes_.empty());
    struct stat ignored {};
    EXPECT_NE(::stat(("/proc/" + pid.substr(0, pid.size() - 1)).c_str(), &ignored), 0);
}

TEST_F(NsupdateDelegation, WhatCannotBeUsedIsNamed) {
    EXPECT_EQ(mistake(), "none");
    const auto good = config_;
    config_.key_file = folder_ / "none";
    EXPECT_NE(mistake().find("key file " + (folder_ / "none")), std::string::npos);
    config_.key_file = write("open", "secret", 0644);
    EXPECT_NE(mistake().find("can be read by others"), std::string::npos);
    config_.key_file = write("group", "secret", 0640);
    EXPECT_EQ(mistake(), "none");
    config_.key_file = folder_.path();
    EXPECT_NE(mistake(), "none");
    config_ = good;
    config_.tool = "nsupdate";
    EXPECT_EQ(mistake(), "cannot be executed: nsupdate");
    config_.tool = config_.key_file;
    EXPECT_NE(mistake(), "none");
    config_ = good;
    config_.zones = {"example.org"};
    EXPECT_EQ(mistake(), "no zone of ip6.arpa: example.org");
    config_.zones = {};
    EXPECT_EQ(mistake(), "no zone is given");
    config_ = good;
    config_.server.port = 0;
    EXPECT_EQ(mistake(), "the server has no port");
}

}  // namespace
}  // namespace dstm::server
