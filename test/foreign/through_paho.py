"""paho-mqtt (Debian) through every QoS of a version, with a will and a persistent session; prints OK."""
import sys
import threading

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])
VERSION = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[sys.argv[2]]
COUNT = 100


def connect(client_id, clean=True, will=None):
    options = {} if VERSION == mqtt.MQTTv5 else {"clean_session": clean}
    client = mqtt.Client(client_id, protocol=VERSION, **options)
    client.max_inflight_messages_set(20)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    if will is not None:
        client.will_set(will, "gone", qos=1)
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    assert connected.wait(10), "no CONNACK"
    return client


seen = []
complete = threading.Event()


def on_message(_client, _userdata, message):
    seen.append((message.topic, message.payload.decode(), message.qos))
    if len(seen) == 3 * COUNT + 1:
        complete.set()


subscriber = connect("paho-sub-" + sys.argv[2])
subscriber.on_message = on_message
subscribed = threading.Event()
subscriber.on_subscribe = lambda *_: subscribed.set()
subscriber.subscribe("paho/" + sys.argv[2] + "/#", qos=2)
assert subscribed.wait(10), "no SUBACK"

publisher = connect("paho-pub-" + sys.argv[2], will="paho/" + sys.argv[2] + "/will")
for qos in range(3):
    for index in range(COUNT):
        info = publisher.publish("paho/%s/%d" % (sys.argv[2], qos), str(index), qos=qos)
        info.wait_for_publish(10)
publisher._sock_close()
assert complete.wait(10), "only %d messages" % len(seen)
for qos in range(3):
    topic = "paho/%s/%d" % (sys.argv[2], qos)
    assert [(p, q) for t, p, q in seen if t == topic] == [(str(i), qos) for i in range(COUNT)], topic
assert ("paho/" + sys.argv[2] + "/will", "gone", 1) in seen
print("OK")
