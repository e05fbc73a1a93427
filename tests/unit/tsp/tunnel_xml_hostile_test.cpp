// XML that wants to harm: declarations, entities, encodings, size, depth, counts, broken bytes.
#include "common/tsp/tunnel_xml.hpp"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <gtest/gtest.h>

namespace dstm::tsp {
namespace {

using namespace std::string_literals;

std::string fault(std::string_view xml) {
    const auto message = parse_tunnel_xml(xml);
    return message ? "none" : message.error().context;
}

std::string repeated(std::string_view part, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += part;
    return out;
}

constexpr auto accept = "<tunnel action=\"accept\"></tunnel>";

TEST(TunnelXmlHostile, DoctypesAreRefused) {
    for (const auto& doctype :
         {"<!DOCTYPE tunnel>"s, "<!DOCTYPE tunnel SYSTEM \"http://192.0.2.1/x.dtd\">"s,
          "<!DOCTYPE tunnel PUBLIC \"a\" \"file:///etc/passwd\">"s,
          "<!DOCTYPE tunnel [<!ELEMENT tunnel ANY>]>"s, "<!doctype tunnel>"s, "<! DOCTYPE tunnel>"s,
          "<?xml version=\"1.0\"?><!DOCTYPE tunnel []>"s}) {
        EXPECT_EQ(fault(doctype + accept), "XML has a DTD") << doctype;
    }
}

TEST(TunnelXmlHostile, EntityBombIsRefusedBeforeItExpands) {
    std::string bomb = "<!DOCTYPE tunnel [<!ENTITY a0 \"lol\">";
    for (int i = 1; i < 12; ++i) {
        const auto previous = "&a" + std::to_string(i - 1) + ";";
        bomb += "<!ENTITY a" + std::to_string(i) + " \"" + repeated(previous, 10) + "\">";
    }
    bomb +=
        "]><tunnel action=\"create\"><client><address "
        "type=\"dn\">&a11;</address></client></tunnel>";
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(fault(bomb), "XML has a DTD");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(TunnelXmlHostile, ExternalEntityIsNeverRead) {
    const auto path =
        std::filesystem::temp_directory_path() / ("dstm-xxe-" + std::to_string(::getpid()));
    std::ofstream(path) << "192.0.2.66";
    const auto xml = "<!DOCTYPE tunnel [<!ENTITY x SYSTEM \"file://" + path.string() + "\">]>" +
                     "<tunnel action=\"create\"><client><address type=\"ipv6\">&x;</address>"
                     "</client></tunnel>";
    EXPECT_EQ(fault(xml), "XML has a DTD");
    std::filesystem::remove(path);
}

TEST(TunnelXmlHostile, UndeclaredEntityIsAnError) {
    EXPECT_NE(fault("<tunnel action=\"create\"><client><address type=\"dn\">&x;</address></client>"
                    "</tunnel>"),
              "none");
    EXPECT_NE(fault("<tunnel action=\"&x;\"/>"), "none");
}

// The check for declarations reads bytes; a document in another encoding would pass under it.
TEST(TunnelXmlHostile, OtherEncodingsAreRefused) {
    const auto ascii = "<!DOCTYPE tunnel>"s + accept;
    std::string utf16 = "\xff\xfe";
    for (const char c : ascii) utf16 += {c, '\0'};
    EXPECT_NE(fault(utf16), "none");
    // UTF-7 spells "<!DOCTYPE" without either character.
    EXPECT_NE(
        fault("<?xml version=\"1.0\" encoding=\"UTF-7\"?>+ADwAIQ-DOCTYPE tunnel+AD4-"s + accept),
        "none");
    EXPECT_NE(fault("<?xml version=\"1.0\" encoding=\"IBM037\"?>\x4c\x5a"s + accept), "none");
    EXPECT_NE(fault("<tunnel action=\"accept\">\xff\xfe</tunnel>"), "none") << "invalid UTF-8";
    EXPECT_NE(fault("<tunnel action=\"accept\">\xc0\xbc</tunnel>"), "none") << "overlong '<'";
}

TEST(TunnelXmlHostile, DepthIsBounded) {
    const auto nested = [](int depth) {
        return "<tunnel action=\"accept\">" + repeated("<a>", depth) + repeated("</a>", depth) +
               "</tunnel>";
    };
    EXPECT_EQ(fault(nested(static_cast<int>(xml_depth_max) - 1)), "none");
    EXPECT_EQ(fault(nested(static_cast<int>(xml_depth_max))), "elements are nested too deep");
    EXPECT_EQ(fault("<tunnel action=\"accept\">" + repeated("<a>", 20000)),
              "elements are nested too deep");
}

TEST(TunnelXmlHostile, ElementsAreBounded) {
    const auto many = [](int count) {
        return "<tunnel action=\"accept\">" + repeated("<a/>", count) + "</tunnel>";
    };
    EXPECT_EQ(fault(many(static_cast<int>(xml_elements_max) - 1)), "none");
    EXPECT_EQ(fault(many(static_cast<int>(xml_elements_max))), "too many elements");
}

TEST(TunnelXmlHostile, AttributesAreBounded) {
    const auto many = [](int count) {
        std::string xml = "<tunnel action=\"accept\"";
        for (int i = 1; i < count; ++i) xml += " a" + std::to_string(i) + "=\"\"";
        return xml + "/>";
    };
    EXPECT_EQ(fault(many(static_cast<int>(xml_attributes_max))), "none");
    EXPECT_EQ(fault(many(static_cast<int>(xml_attributes_max) + 1)), "too many attributes");
    EXPECT_EQ(fault(many(5000)), "too many attributes");
}

TEST(TunnelXmlHostile, SizeIsBounded) {
    const std::string padded = "<tunnel action=\"accept\">" + std::string(xml_size_max, 'x');
    EXPECT_EQ(fault(padded), "XML is too large");
}

TEST(TunnelXmlHostile, NulsAndEmptyDocumentsAreErrors) {
    EXPECT_EQ(fault(accept + "\0"s), "XML has a NUL");
    EXPECT_EQ(fault("<tunnel action=\"acc\0ept\"/>"s), "XML has a NUL");
    EXPECT_EQ(fault(""), "XML is empty");
    EXPECT_EQ(fault(" \r\n\t"), "XML is empty");
}

TEST(TunnelXmlHostile, BrokenDocumentsAreErrors) {
    for (const auto& xml :
         {"<"s, "tunnel"s, "<tunnel"s, "<tunnel action=\"accept\">"s, "<tunnel action=accept/>"s,
          "<tunnel action=\"accept\" action=\"reject\"/>"s, accept + "x"s,
          accept + std::string(accept), "x"s + accept, "<tunnel action=\"accept\"></tunel>"s,
          "<tunnel action=\"<\"/>"s, "<tunnel action=\"accept\">&#0;</tunnel>"s,
          "<tunnel action=\"accept\">\x01</tunnel>"s,
          "<tunnel action=\"accept\"><![CDATA[</tunnel>"s,
          "<tunnel action=\"accept\"><!-- </tunnel>"s, "<?xml version=\"1.0\"?>"s, "<!---->"s}) {
        EXPECT_NE(fault(xml), "none") << xml;
    }
}

// Every document that is cut short is an error, wherever it is cut.
TEST(TunnelXmlHostile, TruncatedDocumentsAreErrors) {
    const auto whole =
        "<tunnel action=\"create\" type=\"v4v6\"><client><address type=\"ipv6\">"
        "2001:db8::1</address><keepalive interval=\"30\"/></client></tunnel>"s;
    EXPECT_EQ(fault(whole), "none");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_NE(fault(std::string_view(whole).substr(0, size)), "none") << size;
    }
}

}  // namespace
}  // namespace dstm::tsp
