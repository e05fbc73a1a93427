// The audit log: what is written, how it is read, and who had which address.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "dstm-server/admin/audit_file.hpp"
#include "dstm-server/admin/audit_record.hpp"
#include "dstm-server/admin/rfc3339.hpp"
#include "dstm-server/admin/table.hpp"
#include "dstm-server/admin/who_had.hpp"
#include "temporary_directory.hpp"

namespace dstm::server {
namespace {

using Event = AuditRecord::Event;

WallTime at(const char* text) { return *parse_rfc3339(text); }

AuditRecord record(Event event, const char* time, const std::string& user,
                   const char* expires = "2026-11-03T15:00:00Z") {
    AuditRecord made;
    made.event = event;
    made.time = at(time);
    made.user = user;
    made.host = "lab-7";
    made.inner = *Ipv4Address::parse("192.0.2.7");
    made.outer_client = {*Ipv6Address::parse("2001:db8:1::5"), 0};
    made.endpoint = "tep1";
    made.expires_at = at(expires);
    return made;
}

std::vector<std::string> lines_of(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

TEST(Rfc3339, TimesAreWrittenInUtc) {
    EXPECT_EQ(to_rfc3339(from_unix(0)), "1970-01-01T00:00:00Z");
    EXPECT_EQ(to_rfc3339(from_unix(1793714401)), "2026-11-03T14:00:01Z");
}

TEST(Rfc3339, WhatAnOperatorTypesIsUnderstood) {
    const auto expected = from_unix(1793714400);
    for (const char* const text :
         {"2026-11-03T14:00:00Z", "2026-11-03T14:00", "2026-11-03 14:00", "2026-11-03t14:00:00z",
          "2026-11-03T15:00:00+01:00", "2026-11-03T08:30:00-05:30", "2026-11-03T14:00:00.999Z"}) {
        EXPECT_EQ(parse_rfc3339(text), expected) << text;
    }
    EXPECT_EQ(parse_rfc3339("2026-11-03"), from_unix(1793664000));
    EXPECT_EQ(parse_rfc3339("2024-02-29T00:00Z"), from_unix(1709164800));
}

TEST(Rfc3339, WhatIsNoTimeIsRefused) {
    for (const char* const text :
         {"", "yesterday", "2026", "2026-13-01", "2026-02-29", "2026-11-03T", "2026-11-03T24:00",
          "2026-11-03T14:60", "2026-11-03T14", "2026-11-03T14:00:00+1", "2026-11-03T14:00:00.",
          "2026-11-03T14:00Zx", "-026-11-03", "2026-11-03T14:00:61Z"}) {
        EXPECT_FALSE(parse_rfc3339(text).has_value()) << text;
    }
}

TEST(AuditRecordText, HasTheFieldsOperatorsGrepFor) {
    EXPECT_EQ(encode_audit(record(Event::started, "2026-11-03T14:00:01Z", "alice")),
              R"({"time":"2026-11-03T14:00:01Z","event":"started","user":"alice","host":"lab-7",)"
              R"("type":"v4v6","address":"192.0.2.7","outer":"2001:db8:1::5","endpoint":"tep1",)"
              R"("expires":"2026-11-03T15:00:00Z"})");
}

TEST(AuditRecordText, SurvivesTheWayThereAndBack) {
    AuditRecord original = record(Event::ended, "2026-11-03T14:00:01Z", "a\"\n\\b");
    original.reason = "deleted by client";
    original.outer_client.port = 4242;
    original.prefix = Ipv6Prefix::parse("2001:db8:200::/56");
    const std::string line = encode_audit(original);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto read = decode_audit(line);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->user, original.user);
    EXPECT_EQ(read->reason, original.reason);
    EXPECT_EQ(read->outer_client, original.outer_client);
    EXPECT_EQ(read->prefix, original.prefix);
    EXPECT_EQ(encode_audit(*read), line);
    for (std::size_t size = 0; size < line.size(); ++size) {
        EXPECT_FALSE(decode_audit(line.substr(0, size)).has_value());
    }
}

TEST(AuditFileTest, AppendsAndCarriesOnInANewFileAfterRotation) {
    dstm::test::TemporaryDirectory directory;
    const std::string path = directory.file("audit.jsonl");
    std::ofstream(path) << "earlier\n";
    auto file = AuditFile::open(path);
    ASSERT_TRUE(file.has_value());
    (*file)->write(record(Event::started, "2026-11-03T14:00:01Z", "alice"));
    std::filesystem::rename(path, path + ".1");
    (*file)->write(record(Event::changed, "2026-11-03T14:10:01Z", "alice"));
    (*file)->reopen();
    (*file)->write(record(Event::ended, "2026-11-03T14:20:01Z", "alice"));
    EXPECT_EQ(lines_of(path + ".1").size(), 3u);
    ASSERT_EQ(lines_of(path).size(), 1u);
    EXPECT_EQ(decode_audit(lines_of(path)[0])->event, Event::ended);
}

TEST(AuditFileTest, APlaceThatCannotBeWrittenIsAnErrorAtTheStart) {
    dstm::test::TemporaryDirectory directory;
    EXPECT_FALSE(AuditFile::open(directory.file("no/such/folder")).has_value());
    EXPECT_FALSE(AuditFile::open(directory.file(".")).has_value());
}

TEST(AuditFileTest, AFullDiskIsReportedOnceAndDoesNotStopUs) {
    if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
    auto file = AuditFile::open("/dev/full");
    ASSERT_TRUE(file.has_value());
    testing::internal::CaptureStderr();
    for (int i = 0; i < 3; ++i) {
        (*file)->write(record(Event::started, "2026-11-03T14:00:01Z", "alice"));
    }
    const std::string log = testing::internal::GetCapturedStderr();
    const auto first = log.find("AUDIT_WRITE_FAILED");
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(log.find("AUDIT_WRITE_FAILED", first + 1), std::string::npos);
    // Who had the address is not lost altogether: the log has the line.
    EXPECT_NE(log.find("192.0.2.7"), std::string::npos);
}

class WhoHadTest : public testing::Test {
protected:
    void add(Event event, const char* time, const std::string& user,
             const char* expires = "2026-11-03T15:00:00Z") {
        log_.read_line(encode_audit(record(event, time, user, expires)));
    }
    std::string holder(const char* time) {
        const Holding* holding = log_.at(at(time));
        return holding == nullptr ? "nobody" : holding->as_of(at(time)).user;
    }
    WhoHad log_{*Ipv4Address::parse("192.0.2.7")};
};

TEST_F(WhoHadTest, OneHolderAfterTheOther) {
    add(Event::started, "2026-11-03T14:00:00Z", "alice");
    add(Event::ended, "2026-11-03T14:30:00Z", "alice");
    add(Event::started, "2026-11-03T14:40:00Z", "bob");
    EXPECT_EQ(holder("2026-11-03T13:59:59Z"), "nobody");
    EXPECT_EQ(holder("2026-11-03T14:00:00Z"), "alice");
    EXPECT_EQ(holder("2026-11-03T14:29:59Z"), "alice");
    EXPECT_EQ(holder("2026-11-03T14:30:00Z"), "nobody");
    EXPECT_EQ(holder("2026-11-03T14:40:00Z"), "bob");
    EXPECT_EQ(log_.before(at("2026-11-03T14:35:00Z"))->start.user, "alice");
}

TEST_F(WhoHadTest, WithoutAnEndTheLeaseItselfIsTheBound) {
    add(Event::started, "2026-11-03T14:00:00Z", "alice", "2026-11-03T15:00:00Z");
    EXPECT_EQ(holder("2026-11-03T14:59:59Z"), "alice");
    EXPECT_EQ(holder("2026-11-03T15:00:00Z"), "nobody");
    add(Event::changed, "2026-11-03T14:30:00Z", "alice", "2026-11-03T15:30:00Z");
    EXPECT_EQ(holder("2026-11-03T15:10:00Z"), "alice");
}

TEST_F(WhoHadTest, ARecordedEndCountsMoreThanTheLeaseAsFirstKnown) {
    add(Event::started, "2026-11-03T14:00:00Z", "alice", "2026-11-03T15:00:00Z");
    add(Event::ended, "2026-11-03T17:00:00Z", "alice");
    EXPECT_EQ(holder("2026-11-03T16:00:00Z"), "alice");
}

TEST_F(WhoHadTest, AMoveChangesTheOuterAddressFromThenOn) {
    add(Event::started, "2026-11-03T14:00:00Z", "alice");
    AuditRecord moved = record(Event::changed, "2026-11-03T14:30:00Z", "alice");
    moved.outer_client.address = *Ipv6Address::parse("2001:db8:9::9");
    log_.read_line(encode_audit(moved));
    const Holding* holding = log_.at(at("2026-11-03T14:40:00Z"));
    ASSERT_NE(holding, nullptr);
    EXPECT_EQ(to_string(holding->as_of(at("2026-11-03T14:10:00Z")).outer_client.address),
              "2001:db8:1::5");
    EXPECT_EQ(to_string(holding->as_of(at("2026-11-03T14:40:00Z")).outer_client.address),
              "2001:db8:9::9");
}

TEST_F(WhoHadTest, ANewStartEndsWhatHadNoEnd) {
    add(Event::started, "2026-11-03T14:00:00Z", "alice");
    add(Event::started, "2026-11-03T14:20:00Z", "bob");
    EXPECT_EQ(holder("2026-11-03T14:10:00Z"), "alice");
    EXPECT_EQ(holder("2026-11-03T14:30:00Z"), "bob");
}

TEST(WhoHadPrefix, WhoHasAPrefixHasEveryAddressInItWhileItLasts) {
    AuditRecord delegated = record(Event::started, "2026-11-03T14:00:00Z", "alice");
    delegated.type = TunnelType::v6udpv4;
    delegated.inner = *Ipv6Address::parse("2001:db8:100::7");
    delegated.prefix = Ipv6Prefix::parse("2001:db8:200::/56");
    AuditRecord exchanged = delegated;
    exchanged.event = Event::changed;
    exchanged.time = at("2026-11-03T14:30:00Z");
    exchanged.prefix = Ipv6Prefix::parse("2001:db8:300::/60");
    const auto holder = [&](const char* address, const char* time) -> std::string {
        WhoHad log(*Ipv6Address::parse(address));
        log.read_line(encode_audit(delegated));
        log.read_line(encode_audit(exchanged));
        const Holding* holding = log.at(at(time));
        return holding == nullptr ? "nobody" : holding->as_of(at(time)).user;
    };
    EXPECT_EQ(holder("2001:db8:200:ff::1", "2026-11-03T14:10:00Z"), "alice");
    EXPECT_EQ(holder("2001:db8:200:ff::1", "2026-11-03T14:40:00Z"), "nobody");
    EXPECT_EQ(holder("2001:db8:300:f::1", "2026-11-03T14:10:00Z"), "nobody");
    EXPECT_EQ(holder("2001:db8:300:f::1", "2026-11-03T14:40:00Z"), "alice");
    EXPECT_EQ(holder("2001:db8:100::7", "2026-11-03T14:40:00Z"), "alice");
    EXPECT_EQ(holder("2001:db8:201::1", "2026-11-03T14:10:00Z"), "nobody");
}

TEST_F(WhoHadTest, OthersAndDamagedLinesArePassedOver) {
    AuditRecord other = record(Event::started, "2026-11-03T14:00:00Z", "mallory");
    other.inner = *Ipv4Address::parse("192.0.2.70");
    log_.read_line(encode_audit(other));
    log_.read_line("{\"time\":\"2026-11-0");
    log_.read_line("");
    EXPECT_EQ(holder("2026-11-03T14:30:00Z"), "nobody");
    EXPECT_EQ(log_.damaged_lines(), 1u);
}

TEST(Table, ColumnsLineUp) {
    EXPECT_EQ(to_table({{"A", "LONG", "C"}, {"value", "x", ""}, {"v", "y", "z"}}),
              "A      LONG  C\nvalue  x\nv      y     z\n");
}

}  // namespace
}  // namespace dstm::server
